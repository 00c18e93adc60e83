/* Cosmic Harmony, scalar C: the yardstick that scripts/bench_kernels.py measures the miner against.
 *
 * Straight from the definition, one nonce at a time, with the permutation's 25 lanes in local variables so that the
 * compiler keeps them in registers: what a careful C programmer writes without SIMD. Built with -O3 -march=native.
 * Nothing but the benchmark uses it.
 */
#include <stdint.h>
#include <string.h>

#define LANES 25
#define ROTL64(v, n) (((v) << (n)) | ((v) >> (64 - (n))))
#define ROTL32(v, n) ((n) == 0 ? (v) : ((v) << (n)) | ((v) >> (32 - (n))))

static const uint64_t ROUND_CONSTANTS[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000, 0x000000000000808b,
    0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088,
    0x0000000080008009, 0x000000008000000a, 0x000000008000808b, 0x800000000000008b, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

/* theta, rho, pi, chi and iota of FIPS 202, section 3.2; lane (x, y) is a[x + 5 y]. */
static void keccak_f1600(uint64_t state[LANES])
{
    uint64_t a0 = state[0], a1 = state[1], a2 = state[2], a3 = state[3], a4 = state[4];
    uint64_t a5 = state[5], a6 = state[6], a7 = state[7], a8 = state[8], a9 = state[9];
    uint64_t a10 = state[10], a11 = state[11], a12 = state[12], a13 = state[13], a14 = state[14];
    uint64_t a15 = state[15], a16 = state[16], a17 = state[17], a18 = state[18], a19 = state[19];
    uint64_t a20 = state[20], a21 = state[21], a22 = state[22], a23 = state[23], a24 = state[24];

    for (int round = 0; round < 24; round++) {
        const uint64_t c0 = a0 ^ a5 ^ a10 ^ a15 ^ a20, c1 = a1 ^ a6 ^ a11 ^ a16 ^ a21;
        const uint64_t c2 = a2 ^ a7 ^ a12 ^ a17 ^ a22, c3 = a3 ^ a8 ^ a13 ^ a18 ^ a23;
        const uint64_t c4 = a4 ^ a9 ^ a14 ^ a19 ^ a24;
        const uint64_t d0 = c4 ^ ROTL64(c1, 1), d1 = c0 ^ ROTL64(c2, 1), d2 = c1 ^ ROTL64(c3, 1);
        const uint64_t d3 = c2 ^ ROTL64(c4, 1), d4 = c3 ^ ROTL64(c0, 1);

        const uint64_t b0 = a0 ^ d0, b10 = ROTL64(a1 ^ d1, 1), b20 = ROTL64(a2 ^ d2, 62);
        const uint64_t b5 = ROTL64(a3 ^ d3, 28), b15 = ROTL64(a4 ^ d4, 27);
        const uint64_t b16 = ROTL64(a5 ^ d0, 36), b1 = ROTL64(a6 ^ d1, 44), b11 = ROTL64(a7 ^ d2, 6);
        const uint64_t b21 = ROTL64(a8 ^ d3, 55), b6 = ROTL64(a9 ^ d4, 20);
        const uint64_t b7 = ROTL64(a10 ^ d0, 3), b17 = ROTL64(a11 ^ d1, 10), b2 = ROTL64(a12 ^ d2, 43);
        const uint64_t b12 = ROTL64(a13 ^ d3, 25), b22 = ROTL64(a14 ^ d4, 39);
        const uint64_t b23 = ROTL64(a15 ^ d0, 41), b8 = ROTL64(a16 ^ d1, 45), b18 = ROTL64(a17 ^ d2, 15);
        const uint64_t b3 = ROTL64(a18 ^ d3, 21), b13 = ROTL64(a19 ^ d4, 8);
        const uint64_t b14 = ROTL64(a20 ^ d0, 18), b24 = ROTL64(a21 ^ d1, 2), b9 = ROTL64(a22 ^ d2, 61);
        const uint64_t b19 = ROTL64(a23 ^ d3, 56), b4 = ROTL64(a24 ^ d4, 14);

        a0 = b0 ^ (~b1 & b2) ^ ROUND_CONSTANTS[round];
        a1 = b1 ^ (~b2 & b3), a2 = b2 ^ (~b3 & b4), a3 = b3 ^ (~b4 & b0), a4 = b4 ^ (~b0 & b1);
        a5 = b5 ^ (~b6 & b7), a6 = b6 ^ (~b7 & b8), a7 = b7 ^ (~b8 & b9), a8 = b8 ^ (~b9 & b5);
        a9 = b9 ^ (~b5 & b6), a10 = b10 ^ (~b11 & b12), a11 = b11 ^ (~b12 & b13), a12 = b12 ^ (~b13 & b14);
        a13 = b13 ^ (~b14 & b10), a14 = b14 ^ (~b10 & b11), a15 = b15 ^ (~b16 & b17), a16 = b16 ^ (~b17 & b18);
        a17 = b17 ^ (~b18 & b19), a18 = b18 ^ (~b19 & b15), a19 = b19 ^ (~b15 & b16), a20 = b20 ^ (~b21 & b22);
        a21 = b21 ^ (~b22 & b23), a22 = b22 ^ (~b23 & b24), a23 = b23 ^ (~b24 & b20), a24 = b24 ^ (~b20 & b21);
    }

    state[0] = a0, state[1] = a1, state[2] = a2, state[3] = a3, state[4] = a4;
    state[5] = a5, state[6] = a6, state[7] = a7, state[8] = a8, state[9] = a9;
    state[10] = a10, state[11] = a11, state[12] = a12, state[13] = a13, state[14] = a14;
    state[15] = a15, state[16] = a16, state[17] = a17, state[18] = a18, state[19] = a19;
    state[20] = a20, state[21] = a21, state[22] = a22, state[23] = a23, state[24] = a24;
}

static void golden_mix(uint32_t s[12])
{
#pragma GCC unroll 12
    for (int round = 0; round < 12; round++)
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++)
            s[i] = (ROTL32(s[i], round) ^ s[(i + 1) % 12]) * UINT32_C(1618033);
}

/* Pads a message of `words` 64-bit words (at most 16) in place: keccak-256's rate is 17 words. */
static void pad(uint64_t state[LANES], int words)
{
    memset(state + words, 0, (LANES - words) * sizeof *state);
    state[words] = 1;
    state[16] ^= UINT64_C(0x8000000000000000);
}

/* header: 80 bytes; hash: 32 bytes. */
void cosmic_harmony(const uint8_t *header, uint64_t nonce, uint8_t *hash)
{
    uint64_t state[LANES];
    uint32_t s[12];

    memcpy(state, header, 80);
    state[10] = nonce;
    pad(state, 11);
    keccak_f1600(state);

    memcpy(s, state, 32);
    for (int i = 0; i < 4; i++)
        s[8 + i] = s[i] ^ s[4 + i] ^ UINT32_C(0x9e3779b9);
    golden_mix(s);

    memcpy(state + 4, s, 48);
    pad(state, 10);
    keccak_f1600(state);
    memcpy(hash, state, 32);
}

/* How many of `count` nonces have a work hash whose first eight bytes, big-endian, are at most `target_top`. */
uint64_t scan(const uint8_t *header, uint64_t start_nonce, uint64_t count, uint64_t target_top)
{
    uint64_t hits = 0;
    for (uint64_t k = 0; k < count; k++) {
        uint64_t top;
        uint8_t hash[32];
        cosmic_harmony(header, start_nonce + k, hash);
        memcpy(&top, hash, sizeof top);
        hits += __builtin_bswap64(top) <= target_top;
    }
    return hits;
}
