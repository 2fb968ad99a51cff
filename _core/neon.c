/* NEON, which every 64-bit ARM processor has: a look-up of bytes makes bfloat16 of codes, and zeros make float32 of it.
 *
 * All formats are read in blocks of 32 numbers, which become eight registers; so one loop serves them all.
 */

#include "simd.h"

#if MINIOSS_NEON

#include <arm_neon.h>

enum { LANES = 4, BLOCK = 32, PARTS = BLOCK / LANES, TILE_TOKENS = 6 };

/* Bytes of a block. */
enum { MXFP4_BYTES = 16, MXINT8_BYTES = 32, BFLOAT16_BYTES = 64 };

/* The numbers of a block, without their scale. */
typedef void Decode(const uint8_t *codes, float32x4_t values[PARTS]);

/* The even numbers of a block, then the odd ones: low nibbles before high. */
static const uint8_t EVEN_THEN_ODD[BLOCK] = {
    0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
    1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
};

/* Eight bfloat16 numbers are the upper halves of eight float32. */
INLINE void widen(uint8x16_t bytes, float32x4_t values[2])
{
    const uint16x8_t zero = vdupq_n_u16(0), upper = vreinterpretq_u16_u8(bytes);
    values[0] = vreinterpretq_f32_u16(vzip1q_u16(zero, upper));
    values[1] = vreinterpretq_f32_u16(vzip2q_u16(zero, upper));
}

/* The lower and the upper byte of each code as bfloat16 are looked up, and put side by side. */
INLINE void decode_nibbles(uint8x16_t nibbles, float32x4_t values[PARTS / 2])
{
    static const uint8_t LOWER[16] = {0, 0, 0x80, 0xC0, 0, 0x40, 0x80, 0xC0, 0, 0, 0x80, 0xC0, 0, 0x40, 0x80, 0xC0};
    static const uint8_t UPPER[16] = {
        0, 0x3F, 0x3F, 0x3F, 0x40, 0x40, 0x40, 0x40, 0x80, 0xBF, 0xBF, 0xBF, 0xC0, 0xC0, 0xC0, 0xC0,
    };
    const uint8x16_t lower = vqtbl1q_u8(vld1q_u8(LOWER), nibbles), upper = vqtbl1q_u8(vld1q_u8(UPPER), nibbles);
    widen(vzip1q_u8(lower, upper), values);
    widen(vzip2q_u8(lower, upper), values + 2);
}

INLINE void decode_mxfp4(const uint8_t *codes, float32x4_t values[PARTS])
{
    const uint8x16_t bytes = vld1q_u8(codes);
    decode_nibbles(vandq_u8(bytes, vdupq_n_u8(15)), values);
    decode_nibbles(vshrq_n_u8(bytes, 4), values + PARTS / 2);
}

INLINE void decode_mxint8(const uint8_t *codes, float32x4_t values[PARTS])
{
    for (int part = 0; part < PARTS; part += 2) {
        const int16x8_t eight = vmovl_s8(vreinterpret_s8_u8(vld1_u8(codes + part * LANES)));
        values[part] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(eight)));
        values[part + 1] = vcvtq_f32_s32(vmovl_high_s16(eight));
    }
}

INLINE void decode_bfloat16(const uint8_t *codes, float32x4_t values[PARTS])
{
    for (int part = 0; part < PARTS; part += 2)
        widen(vld1q_u8(codes + part * LANES * 2), values + part);
}

/* The end of a row whose length is no multiple of 32: a copy with zeros after it. */
INLINE const uint8_t *whole_block(const uint8_t *codes, size_t block_bytes, size_t left, uint8_t copy[BFLOAT16_BYTES])
{
    if (left >= BLOCK)
        return codes;
    for (size_t byte = 0; byte < block_bytes; byte++)
        copy[byte] = byte < left * block_bytes / BLOCK ? codes[byte] : 0;
    return copy;
}

INLINE float32x4_t dot_block(const float32x4_t values[PARTS], const float *x)
{
    float32x4_t even = vmulq_f32(values[0], vld1q_f32(x)), odd = vmulq_f32(values[1], vld1q_f32(x + LANES));
    for (int part = 2; part < PARTS; part += 2) {
        even = vfmaq_f32(even, values[part], vld1q_f32(x + part * LANES));
        odd = vfmaq_f32(odd, values[part + 1], vld1q_f32(x + (part + 1) * LANES));
    }
    return vaddq_f32(even, odd);
}

INLINE void dot_of(const size_t tokens, Decode *decode, const size_t block_bytes, const uint8_t *codes,
                   const uint8_t *scales, const float *x, size_t stride, size_t n, float *y)
{
    float32x4_t sums[DOT_TOKENS] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)}, values[PARTS];
    uint8_t copy[BFLOAT16_BYTES];
    for (size_t start = 0; start < n; start += BLOCK, codes += block_bytes) {
        const float scale = scales ? SCALES[scales[start / BLOCK]] : 1.0f;
        decode(whole_block(codes, block_bytes, n - start, copy), values);
        __builtin_prefetch(codes + PREFETCH);
        for (size_t t = 0; t < tokens; t++)
            sums[t] = vfmaq_n_f32(sums[t], dot_block(values, x + t * stride + start), scale);
    }
    for (size_t t = 0; t < tokens; t++)
        y[t] = vaddvq_f32(sums[t]);
}

static void dot_mxfp4(const uint8_t *codes, const uint8_t *scales, const float *x, size_t stride, size_t tokens,
                      size_t n, float *y)
{
    WITH_CONSTANT_TOKENS(dot_of, decode_mxfp4, MXFP4_BYTES, codes, scales, x, stride, n, y)
}

static void dot_mxint8(const uint8_t *codes, const uint8_t *scales, const float *x, size_t stride, size_t tokens,
                       size_t n, float *y)
{
    WITH_CONSTANT_TOKENS(dot_of, decode_mxint8, MXINT8_BYTES, codes, scales, x, stride, n, y)
}

static void dot_bfloat16(const uint8_t *codes, const uint8_t *scales, const float *x, size_t stride, size_t tokens,
                         size_t n, float *y)
{
    (void)scales;
    WITH_CONSTANT_TOKENS(dot_of, decode_bfloat16, BFLOAT16_BYTES, codes, NULL, x, stride, n, y)
}

INLINE void unpack_of(Decode *decode, const size_t block_bytes, const uint8_t *codes, const uint8_t *scales,
                      float *values, size_t n)
{
    uint8_t copy[BFLOAT16_BYTES];
    for (size_t start = 0; start < n; start += BLOCK, codes += block_bytes) {
        const float scale = scales ? SCALES[scales[start / BLOCK]] : 1.0f;
        float32x4_t decoded[PARTS];
        decode(whole_block(codes, block_bytes, n - start, copy), decoded);
        for (int part = 0; part < PARTS; part++)
            vst1q_f32(values + start + part * LANES, vmulq_n_f32(decoded[part], scale));
    }
}

static void unpack_mxfp4(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    unpack_of(decode_mxfp4, MXFP4_BYTES, codes, scales, values, n);
}

static void unpack_mxint8(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    unpack_of(decode_mxint8, MXINT8_BYTES, codes, scales, values, n);
}

static void unpack_bfloat16(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    (void)scales;
    unpack_of(decode_bfloat16, BFLOAT16_BYTES, codes, NULL, values, n);
}

/* TILE_ROWS rows times a constant number of tokens: every sum stays in a register. */
INLINE void tile_of(const size_t tokens, const float *rows, size_t row_stride, const float *x, size_t stride,
                    size_t length, float *y)
{
    float32x4_t sums[TILE_TOKENS][TILE_ROWS];
    for (size_t t = 0; t < tokens; t++)
        for (size_t r = 0; r < TILE_ROWS; r++)
            sums[t][r] = vdupq_n_f32(0);
    for (size_t i = 0; i < length; i += LANES)
        for (size_t r = 0; r < TILE_ROWS; r++) {
            const float32x4_t row = vld1q_f32(rows + r * row_stride + i);
            for (size_t t = 0; t < tokens; t++)
                sums[t][r] = vfmaq_f32(sums[t][r], row, vld1q_f32(x + t * stride + i));
        }
    /* GCC unrolls this too late by itself and keeps the sums in memory; Clang would if it were told. */
#if !defined(__clang__)
#pragma GCC unroll 6
#endif
    for (size_t t = 0; t < tokens; t++) {
        const float32x4_t first = vpaddq_f32(sums[t][0], sums[t][1]), second = vpaddq_f32(sums[t][2], sums[t][3]);
        float *to = y + t * TILE_ROWS;
        vst1q_f32(to, vaddq_f32(vld1q_f32(to), vpaddq_f32(first, second)));
    }
}

static void tile(const float *rows, size_t row_stride, const float *x, size_t stride, size_t length, size_t tokens,
                 float *y)
{
    switch (tokens) {
    case TILE_TOKENS: tile_of(TILE_TOKENS, rows, row_stride, x, stride, length, y); break;
    case 1: tile_of(1, rows, row_stride, x, stride, length, y); break;
    case 2: tile_of(2, rows, row_stride, x, stride, length, y); break;
    case 3: tile_of(3, rows, row_stride, x, stride, length, y); break;
    case 4: tile_of(4, rows, row_stride, x, stride, length, y); break;
    case 5: tile_of(5, rows, row_stride, x, stride, length, y); break;
    default: break;
    }
}

/* Sixteen numbers of four sums stay in registers. */
INLINE void mix_of(const float *shares, size_t share_stride, const float *rows, size_t stride, size_t count, float *y,
                   size_t y_stride, const char *ahead)
{
    enum { TOGETHER = 4 };
    float32x4_t sums[TILE_ROWS][TOGETHER];
    for (size_t r = 0; r < TILE_ROWS; r++)
        for (size_t part = 0; part < TOGETHER; part++)
            sums[r][part] = vld1q_f32(y + r * y_stride + part * LANES);
    for (size_t s = 0; s < count; s++) {
        __builtin_prefetch(ahead + s * CACHE_LINE);
        for (size_t part = 0; part < TOGETHER; part++) {
            const float32x4_t row = vld1q_f32(rows + s * stride + part * LANES);
            for (size_t r = 0; r < TILE_ROWS; r++)
                sums[r][part] = vfmaq_n_f32(sums[r][part], row, shares[r * share_stride + s]);
        }
    }
    for (size_t r = 0; r < TILE_ROWS; r++)
        for (size_t part = 0; part < TOGETHER; part++)
            vst1q_f32(y + r * y_stride + part * LANES, sums[r][part]);
}

static void mix(const float *shares, size_t share_stride, const float *rows, size_t stride, size_t count,
                size_t length, float *y, size_t y_stride, const char *ahead)
{
    for (size_t i = 0; i < length; i += 16, ahead += count * CACHE_LINE)
        mix_of(shares, share_stride, rows + i, stride, count, y + i, y_stride, ahead);
}

/* Four rows become columns, four numbers of each at a time: two rounds of interleaving put neighbours side by side. */
static void transpose(const float *rows, size_t stride, size_t count, size_t length, float *columns)
{
    for (size_t s = 0; s < (count + 15) / 16 * 16; s += LANES) {
        const float *from[LANES];
        for (size_t r = 0; r < LANES; r++)
            from[r] = rows + (s + r < count ? s + r : count - 1) * stride;
        for (size_t i = 0; i < length; i += LANES) {
            const float32x4x2_t even = vzipq_f32(vld1q_f32(from[0] + i), vld1q_f32(from[2] + i));
            const float32x4x2_t odd = vzipq_f32(vld1q_f32(from[1] + i), vld1q_f32(from[3] + i));
            for (size_t half = 0; half < 2; half++) {
                const float32x4x2_t both = vzipq_f32(even.val[half], odd.val[half]);
                vst1q_f32(columns + (i + 2 * half) * CHUNK + s, both.val[0]);
                vst1q_f32(columns + (i + 2 * half + 1) * CHUNK + s, both.val[1]);
            }
        }
    }
}

static float soften(float *scores, size_t count, float *largest, float *total)
{
    return soften_of(scores, count, largest, total);
}

static void swiglu(const float *gate_up, float *activation, size_t count, float alpha, float limit)
{
    swiglu_of(gate_up, activation, count, alpha, limit);
}

static double spin(size_t rounds)
{
    enum { CHAINS = 16 };
    volatile float given = 0.5f, kept;
    const float32x4_t half = vdupq_n_f32(given);
    float32x4_t sums[CHAINS];
    for (int chain = 0; chain < CHAINS; chain++)
        sums[chain] = half;
    for (size_t round = 0; round < rounds; round++)
        for (int chain = 0; chain < CHAINS; chain++)
            sums[chain] = vfmaq_f32(sums[chain], half, half);
    /* As in tile_of. */
#if !defined(__clang__)
#pragma GCC unroll 16
#endif
    for (int chain = 0; chain < CHAINS; chain++)
        kept = vaddvq_f32(sums[chain]);
    (void)kept;
    return 2.0 * 4 * CHAINS * (double)rounds;
}

#define NEON_PRODUCT FLOAT32_PRODUCT("float32 in NEON", spin)

const Simd SIMD_NEON = {
    .name = "neon",
    .mxfp4 = {BLOCK, EVEN_THEN_ODD, dot_mxfp4, unpack_mxfp4, NULL, NULL, 0, NULL},
    .mxint8 = {BLOCK, IN_ORDER, dot_mxint8, unpack_mxint8, NULL, NULL, 0, NULL},
    .bfloat16 = {BLOCK, IN_ORDER, dot_bfloat16, unpack_bfloat16, NULL, NULL, 0, NULL},
    .products = {NEON_PRODUCT, NEON_PRODUCT, NEON_PRODUCT},
    .tile_tokens = TILE_TOKENS,
    .tile = tile,
    .mix = mix,
    .transpose = transpose,
    .soften = soften,
    .swiglu = swiglu,
};

#endif
