// Passes its instruction on to the program that its first account names: for tests of calls between programs.
#include "sbf.h"
typedef struct { Account accounts[8]; AccountMeta metas[8]; } Room;
#define room ((Room *)HEAP)
u64 entrypoint(u8 *input) {
    u64 count = *(u64 *)input;
    if (count > 8) return 1;
    input += 8;
    for (u64 i = 0; i < count; i++) {
        Account *account = &room->accounts[i];
        if (*input != NOT_A_DUPLICATE) { *account = room->accounts[*input]; input += 8; }
        else {
            account->is_signer = input[1]; account->is_writable = input[2]; account->is_executable = input[3];
            account->key = input + 8; account->owner = input + 40; account->lamports = (u64 *)(input + 72);
            account->data_length = *(u64 *)(input + 80); account->data = input + 88;
            input += 88 + account->data_length + GROWTH_ROOM; input = (u8 *)(((u64)input + 7) & ~7ULL);
            account->rent_epoch = *(u64 *)input; input += 8;
        }
        room->metas[i] = (AccountMeta){account->key, account->is_writable, account->is_signer};
    }
    Instruction out = {room->accounts[0].key, room->metas + 1, count - 1, input + 8, *(u64 *)input};
    return sol_invoke_signed_c(&out, room->accounts, count, 0, 0);
}
