// A smart account for the tests: a signature of its stored key acts for it.
#include "soroban.h"

HOST("c", "0") Value verify_sig_ed25519(Value key, Value message, Value signature);

EXPORT("init") Value init(Value key) {
    put_contract_data(SYMBOL("key"), key, PERSISTENT);
    return VOID_VALUE;
}

EXPORT("__check_auth") Value check_auth(Value payload, Value signature, Value contexts) {
    (void)contexts;
    verify_sig_ed25519(get_contract_data(SYMBOL("key"), PERSISTENT), payload, signature);
    return VOID_VALUE;
}
