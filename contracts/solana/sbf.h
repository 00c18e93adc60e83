// What a Solana program sees of its virtual machine: freestanding, no SDK.
//
// Layouts follow Agave's C ABI (SolAccountInfo, SolInstruction, SolSignerSeeds) and its sysvars. Functions
// take at most five arguments and globals are read-only: SBF has neither a stack for more nor a .data section.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

typedef struct { const void *address; u64 length; } Slice;  // also SolSignerSeed and SolSignerSeeds

typedef struct { const u8 *key; u8 is_writable, is_signer; } AccountMeta;

typedef struct {
    const u8 *program_id;
    const AccountMeta *accounts;
    u64 account_count;
    const void *data;
    u64 data_length;
} Instruction;

typedef struct {
    u8 *key;
    u64 *lamports;
    u64 data_length;
    u8 *data;
    u8 *owner;
    u64 rent_epoch;
    u8 is_signer, is_writable, is_executable;
} Account;

typedef struct { u64 slot; i64 epoch_start; u64 epoch, leader_epoch; i64 unix_timestamp; } Clock;
typedef struct { u64 lamports_per_byte; u64 threshold_f64_bits; u8 burn_percent; } Rent;

extern void sol_log_data(const Slice *fields, u64 count);
extern u64 sol_sha256(const Slice *parts, u64 count, u8 *digest);
extern u64 sol_get_clock_sysvar(Clock *clock);
extern u64 sol_get_rent_sysvar(Rent *rent);
extern u64 sol_create_program_address(const Slice *seeds, u64 count, const u8 *program_id, u8 *address);
extern u64 sol_invoke_signed_c(const Instruction *instruction, const Account *accounts, u64 account_count,
                               const Slice *signers, u64 signer_count);

// A return value below 2^32 reaches the caller as InstructionError::Custom(value).
#define REQUIRE(condition, error) do { if (!(condition)) return (error); } while (0)
#define TRY(call) do { u64 failure_ = (call); if (failure_) return failure_; } while (0)
#define NOINLINE __attribute__((noinline))
#define ALIGN8 __attribute__((aligned(8)))

// Each account is followed by room to grow in this very instruction.
#define GROWTH_ROOM 10240
#define NOT_A_DUPLICATE 0xff
// The virtual machine's heap: 32 KiB, zeroed for every instruction.
#define HEAP 0x300000000ULL

static inline int same32(const void *a, const void *b) {
    const u64 *x = a, *y = b;
    return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

static inline void copy32(void *to, const void *from) {
    u64 *x = to;
    const u64 *y = from;
    x[0] = y[0]; x[1] = y[1]; x[2] = y[2]; x[3] = y[3];
}
