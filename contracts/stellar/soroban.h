// The part of the Soroban environment interface that the HTLC uses.
//
// Source of every name and number: soroban-env-common 27, env.json (host functions) and val.rs (tags). A host
// function is an import of one letter and one character. All take and return 64-bit words, also those that
// return nothing. Most words are values: the tag in the low byte, the body above it. What does not fit into
// 56 bits is an object, and the body is a handle that is good in the current call only.
#ifndef SOROBAN_H
#define SOROBAN_H

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef unsigned __int128 u128;
typedef __int128 i128;
typedef u64 Value;

#define HOST(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name), visibility("default")))

enum Tag {
    TAG_TRUE = 1,
    TAG_VOID = 2,
    TAG_ERROR = 3,
    TAG_U32 = 4,
    TAG_SMALL_U64 = 6,
    TAG_SMALL_I128 = 11,
    TAG_SMALL_SYMBOL = 14,
    TAG_U64 = 64,
    TAG_I128 = 69,
    TAG_BYTES = 72,
    TAG_ADDRESS = 77,
};

enum { PERSISTENT = 1 };  // a storage class is a plain number, not a value

#define TAG_OF(value) ((u32)((value)&0xff))
#define TRUE_VALUE ((Value)TAG_TRUE)
#define FALSE_VALUE ((Value)0)
#define VOID_VALUE ((Value)TAG_VOID)
#define U32_VALUE(number) (((Value)(u32)(number) << 32) | TAG_U32)
#define NUMBER_OF_U32(value) ((u32)((value) >> 32))
#define ADDRESS_OF(pointer) U32_VALUE((unsigned long)(pointer))
#define CONTRACT_ERROR(code) (((Value)(code) << 32) | TAG_ERROR)

HOST("x", "0") i64 obj_cmp(Value a, Value b);
HOST("x", "1") Value contract_event(Value topics, Value data);
HOST("x", "4") Value get_ledger_timestamp(void);
HOST("x", "5") Value fail_with_error(Value error);
HOST("x", "6") Value get_ledger_network_id(void);
HOST("x", "7") Value get_current_contract_address(void);
HOST("i", "0") u64 obj_to_u64(Value object);
HOST("i", "6") Value obj_from_i128_pieces(i64 high, u64 low);
HOST("i", "7") u64 obj_to_i128_lo64(Value object);
HOST("i", "8") i64 obj_to_i128_hi64(Value object);
HOST("v", "g") Value vec_new_from_linear_memory(Value address, Value length);
HOST("v", "h") Value vec_unpack_to_linear_memory(Value vec, Value address, Value length);
HOST("l", "_") Value put_contract_data(Value key, Value value, u64 storage);
HOST("l", "0") Value has_contract_data(Value key, u64 storage);
HOST("l", "1") Value get_contract_data(Value key, u64 storage);
HOST("l", "2") Value del_contract_data(Value key, u64 storage);
HOST("l", "7") Value extend_contract_data_ttl(Value key, u64 storage, Value threshold, Value extend_to);
HOST("d", "_") Value call(Value contract, Value function, Value arguments);
HOST("b", "_") Value serialize_to_bytes(Value value);
HOST("b", "8") Value bytes_len(Value bytes);
HOST("c", "_") Value compute_hash_sha256(Value bytes);
HOST("a", "_") Value require_auth_for_args(Value address, Value arguments);
HOST("a", "0") Value require_auth(Value address);

// A symbol of up to nine letters is a value: six bits a letter, computed while compiling.
static inline u64 symbol_letter(char letter) {
    if (letter == '_') return 1;
    if (letter <= '9') return (u64)(2 + letter - '0');
    if (letter <= 'Z') return (u64)(12 + letter - 'A');
    return (u64)(38 + letter - 'a');
}
#define SYMBOL(text) symbol((text), sizeof(text) - 1)
static inline __attribute__((always_inline)) Value symbol(const char *text, unsigned length) {
    u64 body = 0;
    for (unsigned i = 0; i < length; i++) body = body << 6 | symbol_letter(text[i]);
    return body << 8 | TAG_SMALL_SYMBOL;
}

#endif
