/* Cosmic Harmony in OpenCL C: searches nonces for one header. The host side is kernels/opencl.py, the definition
 * kernels/cosmic_harmony.py.
 *
 * VECTOR nonces go through one work-item: 1 on a GPU, whose hardware runs work-items side by side, and 4 on a CPU, where
 * the vector types below become SIMD registers. Vectors never go through a built-in function (rotate, convert,
 * vstore): where a CPU is newer than PoCL's compiler, the built-in ones pass them in other registers and crash.
 */
#ifndef VECTOR
#define VECTOR 1
#endif

#if VECTOR == 1
typedef ulong word;
typedef uint half_word;
#define LANES ((word)0)
#define TO_WORD(h) ((word)(h))
#define TO_HALF(w) ((half_word)(w))
#define STORE(w, array) (array)[0] = (w)
#elif VECTOR == 4
typedef ulong4 word;
typedef uint4 half_word;
#define LANES ((word)(0, 1, 2, 3))
#define EACH(type, v) (type)(v).s0, (type)(v).s1, (type)(v).s2, (type)(v).s3
#define TO_WORD(h) ((word)(EACH(ulong, h)))
#define TO_HALF(w) ((half_word)(EACH(uint, w)))
#define STORE(w, array) (array)[0] = (w).s0, (array)[1] = (w).s1, (array)[2] = (w).s2, (array)[3] = (w).s3
#else
#error "VECTOR is 1 or 4"
#endif

#define ROTATE(value, count) (((value) << (count)) | ((value) >> (64 - (count))))
#define SHA3_END 0x8000000000000000UL /* the last bit of Keccak-256's padding, in word 16 of its 17 */
#define NOT_FOUND 0xFFFFFFFFu

/* Iota, FIPS 202 section 3.2.5. */
__constant ulong ROUND_CONSTANTS[24] = {
    0x0000000000000001UL, 0x0000000000008082UL, 0x800000000000808AUL, 0x8000000080008000UL, 0x000000000000808BUL,
    0x0000000080000001UL, 0x8000000080008081UL, 0x8000000000008009UL, 0x000000000000008AUL, 0x0000000000000088UL,
    0x0000000080008009UL, 0x000000008000000AUL, 0x000000008000808BUL, 0x800000000000008BUL, 0x8000000000008089UL,
    0x8000000000008003UL, 0x8000000000008002UL, 0x8000000000000080UL, 0x000000000000800AUL, 0x800000008000000AUL,
    0x8000000080008081UL, 0x8000000000008080UL, 0x0000000080000001UL, 0x8000000080008008UL,
};

/* Keccak-f[1600], FIPS 202 section 3.2; lane (x, y) is a[x + 5 y]. The array has constant indexes throughout, so that
 * compilers keep it in registers. */
static void keccak_f1600(word *a)
{
    for (int round = 0; round < 24; round++) {
        /* theta */
        const word c0 = a[0] ^ a[5] ^ a[10] ^ a[15] ^ a[20];
        const word c1 = a[1] ^ a[6] ^ a[11] ^ a[16] ^ a[21];
        const word c2 = a[2] ^ a[7] ^ a[12] ^ a[17] ^ a[22];
        const word c3 = a[3] ^ a[8] ^ a[13] ^ a[18] ^ a[23];
        const word c4 = a[4] ^ a[9] ^ a[14] ^ a[19] ^ a[24];
        const word d0 = c4 ^ ROTATE(c1, 1);
        const word d1 = c0 ^ ROTATE(c2, 1);
        const word d2 = c1 ^ ROTATE(c3, 1);
        const word d3 = c2 ^ ROTATE(c4, 1);
        const word d4 = c3 ^ ROTATE(c0, 1);

        /* rho and pi: rotate each lane and move (x, y) to (y, 2x + 3y) */
        const word b0 = a[0] ^ d0;
        const word b1 = ROTATE(a[6] ^ d1, 44);
        const word b2 = ROTATE(a[12] ^ d2, 43);
        const word b3 = ROTATE(a[18] ^ d3, 21);
        const word b4 = ROTATE(a[24] ^ d4, 14);
        const word b5 = ROTATE(a[3] ^ d3, 28);
        const word b6 = ROTATE(a[9] ^ d4, 20);
        const word b7 = ROTATE(a[10] ^ d0, 3);
        const word b8 = ROTATE(a[16] ^ d1, 45);
        const word b9 = ROTATE(a[22] ^ d2, 61);
        const word b10 = ROTATE(a[1] ^ d1, 1);
        const word b11 = ROTATE(a[7] ^ d2, 6);
        const word b12 = ROTATE(a[13] ^ d3, 25);
        const word b13 = ROTATE(a[19] ^ d4, 8);
        const word b14 = ROTATE(a[20] ^ d0, 18);
        const word b15 = ROTATE(a[4] ^ d4, 27);
        const word b16 = ROTATE(a[5] ^ d0, 36);
        const word b17 = ROTATE(a[11] ^ d1, 10);
        const word b18 = ROTATE(a[17] ^ d2, 15);
        const word b19 = ROTATE(a[23] ^ d3, 56);
        const word b20 = ROTATE(a[2] ^ d2, 62);
        const word b21 = ROTATE(a[8] ^ d3, 55);
        const word b22 = ROTATE(a[14] ^ d4, 39);
        const word b23 = ROTATE(a[15] ^ d0, 41);
        const word b24 = ROTATE(a[21] ^ d1, 2);

        /* chi and iota */
        a[0] = b0 ^ (~b1 & b2) ^ (word)(ROUND_CONSTANTS[round]);
        a[1] = b1 ^ (~b2 & b3);
        a[2] = b2 ^ (~b3 & b4);
        a[3] = b3 ^ (~b4 & b0);
        a[4] = b4 ^ (~b0 & b1);
        a[5] = b5 ^ (~b6 & b7);
        a[6] = b6 ^ (~b7 & b8);
        a[7] = b7 ^ (~b8 & b9);
        a[8] = b8 ^ (~b9 & b5);
        a[9] = b9 ^ (~b5 & b6);
        a[10] = b10 ^ (~b11 & b12);
        a[11] = b11 ^ (~b12 & b13);
        a[12] = b12 ^ (~b13 & b14);
        a[13] = b13 ^ (~b14 & b10);
        a[14] = b14 ^ (~b10 & b11);
        a[15] = b15 ^ (~b16 & b17);
        a[16] = b16 ^ (~b17 & b18);
        a[17] = b17 ^ (~b18 & b19);
        a[18] = b18 ^ (~b19 & b15);
        a[19] = b19 ^ (~b15 & b16);
        a[20] = b20 ^ (~b21 & b22);
        a[21] = b21 ^ (~b22 & b23);
        a[22] = b22 ^ (~b23 & b24);
        a[23] = b23 ^ (~b24 & b20);
        a[24] = b24 ^ (~b20 & b21);
    }
}

/* One step of the golden-ratio mix: rotate the word by the round's number and take in its neighbour. In round 0 both
 * shifts are by 0, which leaves the word as it is. */
#define MIX(s, neighbour) s = (((s << round) | (s >> ((32 - round) & 31))) ^ neighbour) * 1618033u

/* The golden-ratio mix: reads the seed S from words 0 to 3 and writes the twelve mixed words into words 4 to 9. */
static void golden_mix(word *a)
{
    half_word s0 = TO_HALF(a[0]), s1 = TO_HALF(a[0] >> 32), s2 = TO_HALF(a[1]), s3 = TO_HALF(a[1] >> 32);
    half_word s4 = TO_HALF(a[2]), s5 = TO_HALF(a[2] >> 32), s6 = TO_HALF(a[3]), s7 = TO_HALF(a[3] >> 32);
    half_word s8 = s0 ^ s4 ^ 0x9E3779B9u, s9 = s1 ^ s5 ^ 0x9E3779B9u;
    half_word s10 = s2 ^ s6 ^ 0x9E3779B9u, s11 = s3 ^ s7 ^ 0x9E3779B9u;

    for (uint round = 0; round < 12; round++) {
        MIX(s0, s1);
        MIX(s1, s2);
        MIX(s2, s3);
        MIX(s3, s4);
        MIX(s4, s5);
        MIX(s5, s6);
        MIX(s6, s7);
        MIX(s7, s8);
        MIX(s8, s9);
        MIX(s9, s10);
        MIX(s10, s11);
        MIX(s11, s0);
    }

    a[4] = TO_WORD(s0) | TO_WORD(s1) << 32;
    a[5] = TO_WORD(s2) | TO_WORD(s3) << 32;
    a[6] = TO_WORD(s4) | TO_WORD(s5) << 32;
    a[7] = TO_WORD(s6) | TO_WORD(s7) << 32;
    a[8] = TO_WORD(s8) | TO_WORD(s9) << 32;
    a[9] = TO_WORD(s10) | TO_WORD(s11) << 32;
}

/* Pads a message of `words` 64-bit words to Keccak-256's rate. */
static void pad(word *a, int words)
{
    for (int i = words; i < 25; i++)
        a[i] = (word)(0);
    a[words] = (word)(1);
    a[16] = (word)(SHA3_END);
}

/* A hash is read as a big-endian number, the words are little-endian. */
static word swap_bytes(word x)
{
    x = ((x >> 8) & 0x00FF00FF00FF00FFUL) | ((x & 0x00FF00FF00FF00FFUL) << 8);
    x = ((x >> 16) & 0x0000FFFF0000FFFFUL) | ((x & 0x0000FFFF0000FFFFUL) << 16);
    return (x >> 32) | (x << 32);
}

/* Searches the nonces start + offset, modulo 2^64, for offset < count (at most 2^31).
 *
 * header: 10 words; target: 4 numbers, most significant first.
 * found: the lowest offset whose hash meets the target; the host sets it to NOT_FOUND before.
 * best_top, best_offset: for each work-item the first of its offsets with the lowest leading 64 bits, only valid for
 * all of the range when nothing was found.
 */
__kernel void scan(__constant ulong *header, ulong start, uint count, ulong4 target, volatile __global uint *found,
                   __global ulong *best_top, __global uint *best_offset)
{
    const uint item = (uint)get_global_id(0);
    const uint stride = (uint)get_global_size(0) * VECTOR;
    ulong lowest = ULONG_MAX;
    uint lowest_offset = item * VECTOR;

    for (uint base = item * VECTOR; base < count && base < *found; base += stride) {
        word a[25];
        for (int i = 0; i < 10; i++)
            a[i] = (word)(header[i]);
        a[10] = (word)(start + base) + LANES;
        pad(a, 11);
        keccak_f1600(a);
        golden_mix(a);
        pad(a, 10);
        keccak_f1600(a);

        ulong work[4][VECTOR];
        for (int i = 0; i < 4; i++)
            STORE(swap_bytes(a[i]), work[i]);
        for (uint lane = 0; lane < VECTOR && base + lane < count; lane++) {
            const ulong top = work[0][lane];
            const bool meets = top != target.s0            ? top < target.s0
                               : work[1][lane] != target.s1 ? work[1][lane] < target.s1
                               : work[2][lane] != target.s2 ? work[2][lane] < target.s2
                                                            : work[3][lane] <= target.s3;
            if (meets)
                atomic_min(found, base + lane);
            if (top < lowest) {
                lowest = top;
                lowest_offset = base + lane;
            }
        }
    }
    best_top[item] = lowest;
    best_offset[item] = lowest_offset;
}
