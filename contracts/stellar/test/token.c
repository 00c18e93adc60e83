// A token for the tests, which can be told to lie. Its behaviour is a number in its storage.
#include "soroban.h"

enum Behaviour { HONEST, KEEPS_A_UNIT, MOVES_NOTHING, CALLS_BACK, BALANCE_IS_NO_NUMBER, FAILS, ADDS_A_UNIT, NEVER_ENDS, PAYS_OUT_LESS };

HOST("v", "1") Value vec_get(Value vec, Value index);

static Value stored(Value key, Value otherwise) {
    return has_contract_data(key, PERSISTENT) == TRUE_VALUE ? get_contract_data(key, PERSISTENT) : otherwise;
}

static i128 number(Value value) {
    if (TAG_OF(value) == TAG_SMALL_I128) return (i64)value >> 8;
    return ((i128)obj_to_i128_hi64(value) << 64) | obj_to_i128_lo64(value);
}

static Value from_number(i128 value) {
    if (value < (i128)1 << 55 && value >= -((i128)1 << 55)) return (Value)value << 8 | TAG_SMALL_I128;
    return obj_from_i128_pieces((i64)(value >> 64), (u64)value);
}

static u32 behaviour(void) { return NUMBER_OF_U32(stored(SYMBOL("mode"), U32_VALUE(HONEST))); }

static void add(Value holder, i128 amount) {
    put_contract_data(holder, from_number(number(stored(holder, TAG_SMALL_I128)) + amount), PERSISTENT);
}

EXPORT("behave") Value behave(Value mode) {
    put_contract_data(SYMBOL("mode"), mode, PERSISTENT);
    return VOID_VALUE;
}

// What it calls in the middle of a transfer: contract, function, arguments.
EXPORT("arm") Value arm(Value call_back) {
    put_contract_data(SYMBOL("call"), call_back, PERSISTENT);
    return VOID_VALUE;
}

EXPORT("mint") Value mint(Value to, Value amount) {
    add(to, number(amount));
    return VOID_VALUE;
}

EXPORT("balance") Value balance(Value holder) {
    if (behaviour() == BALANCE_IS_NO_NUMBER) return U32_VALUE(7);
    return stored(holder, TAG_SMALL_I128);
}

EXPORT("transfer") Value transfer(Value from, Value to, Value amount) {
    i128 sent = number(amount), received = sent;
    require_auth(from);
    switch (behaviour()) {
    case KEEPS_A_UNIT: received = sent - 1; break;
    case ADDS_A_UNIT: received = sent + 1; break;
    case PAYS_OUT_LESS: received = sent >> 1; break;
    case MOVES_NOTHING: return VOID_VALUE;
    case FAILS: fail_with_error(CONTRACT_ERROR(77)); break;
    case NEVER_ENDS: for (volatile u32 i = 0;; i++) {}
    case CALLS_BACK: {
        Value what = get_contract_data(SYMBOL("call"), PERSISTENT);
        call(vec_get(what, U32_VALUE(0)), vec_get(what, U32_VALUE(1)), vec_get(what, U32_VALUE(2)));
        break;
    }
    default: break;
    }
    if (number(stored(from, TAG_SMALL_I128)) < sent) fail_with_error(CONTRACT_ERROR(10));
    add(from, -sent);
    add(to, received);
    return VOID_VALUE;
}
