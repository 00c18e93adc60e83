// Hash-time-locked contracts for every Soroban token: XLM and issued assets through their Stellar Asset
// Contracts, and any other token with the interface SEP-41.
//
// A lock is one persistent entry: its key is the lock's id, its value the terms. The rules are those of every
// chain of the bridge. Anybody who shows 0-64 bytes whose SHA-256 is the hashlock can have the recipient paid,
// at any time. From the deadline on anybody can have the sender paid; before it that needs the recipient's
// authorisation. No matter who submits, only the recipient or the sender is ever paid, except for the fee
// that a recipient authorised. There is no owner, no upgrade, and no fee of our own.
//
//   lock(sender, recipient, asset, amount, hashlock, deadline) -> id      authorised by the sender
//   claim(id, preimage)
//   claim_for(id, preimage, fee, payee)         the recipient authorises (id, fee, payee), not the preimage
//   refund(id)
//   refund_coop(id)                             authorised by the recipient
//   get(id) -> terms, or void                   a view
//
// Events, topics and then data:
//   "lock",   id, sender, recipient    [asset, amount, hashlock, deadline]
//   "claim",  id, sender, recipient    preimage
//   "refund", id, sender, recipient    true if the recipient agreed (refund_coop), false if the time was over
#include "soroban.h"

enum Error {
    BAD_TYPE = 1,
    BAD_AMOUNT,
    BAD_HASHLOCK,
    BAD_DEADLINE,
    BAD_PARTY,
    LOCK_EXISTS,
    NO_LOCK,
    BAD_PREIMAGE,
    TOO_EARLY,
    BAD_FEE,
    BAD_TOKEN,
};

enum Term { SENDER, RECIPIENT, ASSET, AMOUNT, HASHLOCK, DEADLINE, TERM_COUNT };

enum { HASH_LENGTH = 32, MAX_PREIMAGE = 64 };

// How long a lock's entry must live: to the deadline and a month more. Ledgers are counted at four seconds,
// faster than the network closes them (about five). The host cuts the sum at the network's maximum, and an
// entry that was archived is restored by the transaction that claims or refunds it. A time to live says
// nothing about a deadline.
enum { SECONDS_PER_LEDGER = 4, MARGIN = 30 * 86400 / SECONDS_PER_LEDGER };
#define MOST_LEDGERS 0x3fffffffu  // the host adds the current ledger and fails if that overflows 32 bits

static void require(int condition, enum Error error) {
    if (condition) return;
    fail_with_error(CONTRACT_ERROR(error));
    __builtin_trap();  // not reached
}

// ---------------------------------------------------------------- values

static int is_i128(Value value) { return TAG_OF(value) == TAG_SMALL_I128 || TAG_OF(value) == TAG_I128; }

static i128 i128_of(Value value) {
    if (TAG_OF(value) == TAG_SMALL_I128) return (i64)value >> 8;
    return ((i128)obj_to_i128_hi64(value) << 64) | obj_to_i128_lo64(value);
}

static Value value_of_i128(i128 number) {  // number >= 0
    if (number < (i128)1 << 55) return (Value)number << 8 | TAG_SMALL_I128;
    return obj_from_i128_pieces((i64)(number >> 64), (u64)number);
}

static int is_u64(Value value) { return TAG_OF(value) == TAG_SMALL_U64 || TAG_OF(value) == TAG_U64; }

static u64 u64_of(Value value) { return TAG_OF(value) == TAG_SMALL_U64 ? value >> 8 : obj_to_u64(value); }

static int is_address(Value value) { return TAG_OF(value) == TAG_ADDRESS; }  // a muxed address is none

static int is_bytes(Value value, u32 least, u32 most) {
    if (TAG_OF(value) != TAG_BYTES) return 0;
    u32 length = NUMBER_OF_U32(bytes_len(value));
    return length >= least && length <= most;
}

static Value vec(const Value *values, u32 length) {
    return vec_new_from_linear_memory(ADDRESS_OF(values), U32_VALUE(length));
}

// ---------------------------------------------------------------- tokens

static void transfer(Value asset, Value from, Value to, Value amount) {
    Value arguments[] = {from, to, amount};
    call(asset, SYMBOL("transfer"), vec(arguments, 3));
}

static u128 balance(Value asset, Value holder) {
    Value result = call(asset, SYMBOL("balance"), vec(&holder, 1));
    require(is_i128(result), BAD_TOKEN);
    return (u128)i128_of(result);
}

// Take exactly `amount`: a token that keeps a part back would make one lock pay for another. The host lets no
// contract be entered twice in one call, so a token that calls back cannot lock in between.
static void deposit(Value asset, Value from, Value self, Value amount) {
    u128 before = balance(asset, self);
    transfer(asset, from, self, amount);
    require(balance(asset, self) - before == (u128)i128_of(amount), BAD_TOKEN);
}

// ---------------------------------------------------------------- locking

// The id commits to the network, to this contract and to every term.
static Value lock_id(const Value *terms, Value self) {
    Value all[2 + TERM_COUNT];
    all[0] = get_ledger_network_id();
    all[1] = self;
    for (u32 i = 0; i < TERM_COUNT; i++) all[2 + i] = terms[i];
    return compute_hash_sha256(serialize_to_bytes(vec(all, 2 + TERM_COUNT)));
}

static void check_terms(const Value *terms, Value self) {
    require(is_address(terms[SENDER]) && is_address(terms[RECIPIENT]) && is_address(terms[ASSET]), BAD_TYPE);
    require(is_i128(terms[AMOUNT]) && is_u64(terms[DEADLINE]), BAD_TYPE);
    require(is_bytes(terms[HASHLOCK], HASH_LENGTH, HASH_LENGTH), BAD_HASHLOCK);
    require(i128_of(terms[AMOUNT]) > 0, BAD_AMOUNT);
    // What this contract paid to itself would belong to no lock any more.
    require(obj_cmp(terms[SENDER], self) != 0 && obj_cmp(terms[RECIPIENT], self) != 0, BAD_PARTY);
}

static void keep_alive(Value id, u64 seconds) {
    u64 ledgers = seconds / SECONDS_PER_LEDGER + MARGIN;
    if (ledgers > MOST_LEDGERS) ledgers = MOST_LEDGERS;
    extend_contract_data_ttl(id, PERSISTENT, U32_VALUE(ledgers), U32_VALUE(ledgers));
}

static void emit(Value kind, Value id, const Value *terms, Value data) {
    Value topics[] = {kind, id, terms[SENDER], terms[RECIPIENT]};
    contract_event(vec(topics, 4), data);
}

EXPORT("lock") Value lock(Value sender, Value recipient, Value asset, Value amount, Value hashlock, Value deadline) {
    Value terms[TERM_COUNT] = {sender, recipient, asset, amount, hashlock, deadline};
    Value self = get_current_contract_address();
    check_terms(terms, self);
    u64 time = u64_of(get_ledger_timestamp()), end = u64_of(deadline);
    require(end > time, BAD_DEADLINE);
    require_auth(sender);
    Value id = lock_id(terms, self);
    require(has_contract_data(id, PERSISTENT) != TRUE_VALUE, LOCK_EXISTS);
    put_contract_data(id, vec(terms, TERM_COUNT), PERSISTENT);
    deposit(asset, sender, self, amount);
    keep_alive(id, end - time);
    emit(SYMBOL("lock"), id, terms, vec(terms + ASSET, TERM_COUNT - ASSET));
    return id;
}

// ---------------------------------------------------------------- paying out

// Read a lock and delete it, before any token moves. What fails later undoes the deletion too.
static void take(Value id, Value *terms) {
    require(is_bytes(id, HASH_LENGTH, HASH_LENGTH), BAD_TYPE);
    require(has_contract_data(id, PERSISTENT) == TRUE_VALUE, NO_LOCK);
    vec_unpack_to_linear_memory(get_contract_data(id, PERSISTENT), ADDRESS_OF(terms), U32_VALUE(TERM_COUNT));
    del_contract_data(id, PERSISTENT);
}

static void check_preimage(const Value *terms, Value preimage) {
    require(is_bytes(preimage, 0, MAX_PREIMAGE), BAD_PREIMAGE);
    require(obj_cmp(compute_hash_sha256(preimage), terms[HASHLOCK]) == 0, BAD_PREIMAGE);
}

EXPORT("claim") Value claim(Value id, Value preimage) {
    Value terms[TERM_COUNT];
    take(id, terms);
    check_preimage(terms, preimage);
    transfer(terms[ASSET], get_current_contract_address(), terms[RECIPIENT], terms[AMOUNT]);
    emit(SYMBOL("claim"), id, terms, preimage);
    return VOID_VALUE;
}

// The recipient may pay the one who claims for it. What it authorises names no preimage, so it can do so before
// the preimage is known.
EXPORT("claim_for") Value claim_for(Value id, Value preimage, Value fee, Value payee) {
    Value terms[TERM_COUNT], self = get_current_contract_address();
    take(id, terms);
    check_preimage(terms, preimage);
    require(is_i128(fee) && is_address(payee), BAD_TYPE);
    require(obj_cmp(payee, self) != 0, BAD_PARTY);
    i128 paid = i128_of(fee), amount = i128_of(terms[AMOUNT]);
    require(paid >= 0 && paid <= amount, BAD_FEE);
    Value authorised[] = {id, fee, payee};
    require_auth_for_args(terms[RECIPIENT], vec(authorised, 3));
    transfer(terms[ASSET], self, terms[RECIPIENT], value_of_i128(amount - paid));
    if (paid > 0) transfer(terms[ASSET], self, payee, fee);
    emit(SYMBOL("claim"), id, terms, preimage);
    return VOID_VALUE;
}

static Value pay_back(Value id, const Value *terms, Value agreed) {
    transfer(terms[ASSET], get_current_contract_address(), terms[SENDER], terms[AMOUNT]);
    emit(SYMBOL("refund"), id, terms, agreed);
    return VOID_VALUE;
}

EXPORT("refund") Value refund(Value id) {
    Value terms[TERM_COUNT];
    take(id, terms);
    require(u64_of(get_ledger_timestamp()) >= u64_of(terms[DEADLINE]), TOO_EARLY);
    return pay_back(id, terms, FALSE_VALUE);
}

EXPORT("refund_coop") Value refund_coop(Value id) {
    Value terms[TERM_COUNT];
    take(id, terms);
    require_auth(terms[RECIPIENT]);
    return pay_back(id, terms, TRUE_VALUE);
}

EXPORT("get") Value get(Value id) {
    require(is_bytes(id, HASH_LENGTH, HASH_LENGTH), BAD_TYPE);
    return has_contract_data(id, PERSISTENT) == TRUE_VALUE ? get_contract_data(id, PERSISTENT) : VOID_VALUE;
}
