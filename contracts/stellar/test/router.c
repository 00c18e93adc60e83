// Does whatever it is told, for the tests of readers: strangers reach the HTLC in ways that no wallet does.
// A list of calls is a vec of [contract, function, arguments].
#include "soroban.h"

HOST("v", "1") Value vec_get(Value vec, Value index);
HOST("v", "3") Value vec_len(Value vec);
HOST("d", "0") Value try_call(Value contract, Value function, Value arguments);

enum { UNDONE = 99 };

static void each(Value calls, int lax) {
    u32 count = NUMBER_OF_U32(vec_len(calls));
    for (u32 i = 0; i < count; i++) {
        Value one = vec_get(calls, U32_VALUE(i));
        Value contract = vec_get(one, U32_VALUE(0)), function = vec_get(one, U32_VALUE(1)), arguments = vec_get(one, U32_VALUE(2));
        if (lax) try_call(contract, function, arguments);
        else call(contract, function, arguments);
    }
}

EXPORT("run") Value run(Value calls) {
    each(calls, 0);
    return VOID_VALUE;
}

// Goes on when one of them fails.
EXPORT("lax") Value lax(Value calls) {
    each(calls, 1);
    return VOID_VALUE;
}

// Does them and then fails: nothing of it remains, though the transaction may go on.
EXPORT("undo") Value undo(Value calls) {
    each(calls, 0);
    fail_with_error(CONTRACT_ERROR(UNDONE));
    return VOID_VALUE;
}

// What was kept is done later by a transaction that does not show it.
EXPORT("keep") Value keep(Value calls) {
    put_contract_data(SYMBOL("calls"), calls, PERSISTENT);
    return VOID_VALUE;
}

EXPORT("fire") Value fire(void) {
    each(get_contract_data(SYMBOL("calls"), PERSISTENT), 0);
    return VOID_VALUE;
}

// Says what another contract would say.
EXPORT("shout") Value shout(Value topics, Value data) { return contract_event(topics, data); }
