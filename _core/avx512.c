/* AVX-512: sixteen 4-bit codes become float32 by one permutation of a register. */

#include "simd.h"

#if MINIOSS_X86

#include <immintrin.h>
#include <string.h>

#define AVX512 TARGET("avx512f,avx512bw,avx2,fma")

enum { LANES = 16, MXFP4_GROUP = 128, BFLOAT16_GROUP = 32, TILE_TOKENS = 6 };

/* A register holds four blocks as 16 numbers of 32 bits, and each of these 8 codes: code k of number i
 * is the group's 8 i + k. */
#define CODE(k) k, 8 + k, 16 + k, 24 + k, 32 + k, 40 + k, 48 + k, 56 + k, 64 + k, 72 + k, 80 + k, 88 + k, 96 + k, \
    104 + k, 112 + k, 120 + k
static const uint8_t MXFP4_ORDER[MXFP4_GROUP] = {
    CODE(0), CODE(1), CODE(2), CODE(3), CODE(4), CODE(5), CODE(6), CODE(7),
};

/* Sixteen pairs: the lower halves, then the upper. */
static const uint8_t BFLOAT16_ORDER[BFLOAT16_GROUP] = {
    0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
    1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
};

/* Four blocks; where a row has fewer left, the others have code 0 and scale 1. */
typedef struct {
    __m512i codes;
    __m512 scales;
} Group;

/* Whether a row has a scale of 0 or 255, which is no plain exponent. */
AVX512 INLINE int any_edge(const uint8_t *scales, size_t blocks)
{
    __mmask64 found = 0;
    for (size_t start = 0; start < blocks; start += 64) {
        const __mmask64 there = blocks - start < 64 ? (1ull << (blocks - start)) - 1 : ~0ull;
        const __m512i bytes = _mm512_maskz_loadu_epi8(there, scales + start);
        found |= _mm512_mask_cmpeq_epi8_mask(there, bytes, _mm512_setzero_si512()) |
                 _mm512_mask_cmpeq_epi8_mask(there, bytes, _mm512_set1_epi8(-1));
    }
    return found != 0;
}

AVX512 INLINE __m512 spread_scales(uint32_t bytes, const int edge)
{
    const __m512i each_four_times = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    const __m128 scales =
        edge ? _mm_setr_ps(MXFP4_SCALES[bytes & 255], MXFP4_SCALES[bytes >> 8 & 255], MXFP4_SCALES[bytes >> 16 & 255],
                           MXFP4_SCALES[bytes >> 24])
             : _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu8_epi32(_mm_cvtsi32_si128((int)bytes)), 23));
    return _mm512_permutexvar_ps(each_four_times, _mm512_castps128_ps512(scales));
}

AVX512 INLINE Group load_group(const uint8_t *codes, const uint8_t *scales, const int edge)
{
    uint32_t bytes;
    memcpy(&bytes, scales, sizeof bytes);
    return (Group){_mm512_loadu_si512(codes), spread_scales(bytes, edge)};
}

AVX512 INLINE Group load_last(const uint8_t *codes, const uint8_t *scales, size_t blocks)
{
    const uint32_t bytes = 0x7F000000u | (blocks > 2 ? scales[2] : 0x7Fu) << 16 |
                           (blocks > 1 ? scales[1] : 0x7Fu) << 8 | scales[0];
    return (Group){_mm512_maskz_loadu_epi32((__mmask16)((1u << 4 * blocks) - 1), codes), spread_scales(bytes, 1)};
}

/* Code k of each of the sixteen numbers, without its scale. A permutation looks at the lowest four bits alone. */
AVX512 INLINE __m512 decoded(__m512i codes, int k, __m512 table)
{
    return _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4 * k), table);
}

AVX512 INLINE __m512 add_group(Group group, const float *x, __m512 table, __m512 sum)
{
    __m512 even = _mm512_mul_ps(decoded(group.codes, 0, table), _mm512_loadu_ps(x));
    __m512 odd = _mm512_mul_ps(decoded(group.codes, 1, table), _mm512_loadu_ps(x + LANES));
    even = _mm512_fmadd_ps(decoded(group.codes, 2, table), _mm512_loadu_ps(x + 2 * LANES), even);
    odd = _mm512_fmadd_ps(decoded(group.codes, 3, table), _mm512_loadu_ps(x + 3 * LANES), odd);
    even = _mm512_fmadd_ps(decoded(group.codes, 4, table), _mm512_loadu_ps(x + 4 * LANES), even);
    odd = _mm512_fmadd_ps(decoded(group.codes, 5, table), _mm512_loadu_ps(x + 5 * LANES), odd);
    even = _mm512_fmadd_ps(decoded(group.codes, 6, table), _mm512_loadu_ps(x + 6 * LANES), even);
    odd = _mm512_fmadd_ps(decoded(group.codes, 7, table), _mm512_loadu_ps(x + 7 * LANES), odd);
    return _mm512_fmadd_ps(_mm512_add_ps(even, odd), group.scales, sum);
}

AVX512 INLINE float dot_of(const int edge, const uint8_t *codes, const uint8_t *scales, const float *x, size_t n)
{
    const __m512 table = _mm512_loadu_ps(MXFP4_CODES);
    __m512 sum = _mm512_setzero_ps();
    size_t start = 0;
    for (; start + MXFP4_GROUP <= n; start += MXFP4_GROUP) {
        _mm_prefetch((const char *)(codes + start / 2 + PREFETCH), _MM_HINT_T0);
        sum = add_group(load_group(codes + start / 2, scales + start / 32, edge), x + start, table, sum);
    }
    if (start < n)
        sum = add_group(load_last(codes + start / 2, scales + start / 32, (n - start) / 32), x + start, table, sum);
    return _mm512_reduce_add_ps(sum);
}

AVX512 static float dot_mxfp4(const uint8_t *codes, const uint8_t *scales, const float *x, size_t n)
{
    return any_edge(scales, n / 32) ? dot_of(1, codes, scales, x, n) : dot_of(0, codes, scales, x, n);
}

AVX512 INLINE void store_group(Group group, float *values, __m512 table)
{
    for (int k = 0; k < 8; k++)
        _mm512_storeu_ps(values + k * LANES, _mm512_mul_ps(decoded(group.codes, k, table), group.scales));
}

AVX512 static void unpack_mxfp4(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    const __m512 table = _mm512_loadu_ps(MXFP4_CODES);
    size_t start = 0;
    for (; start + MXFP4_GROUP <= n; start += MXFP4_GROUP)
        store_group(load_group(codes + start / 2, scales + start / 32, 1), values + start, table);
    if (start < n)
        store_group(load_last(codes + start / 2, scales + start / 32, (n - start) / 32), values + start, table);
}

AVX512 INLINE __m512i load_pairs(const uint8_t *codes, size_t left)
{
    return left >= BFLOAT16_GROUP ? _mm512_loadu_si512(codes)
                                  : _mm512_maskz_loadu_epi16((__mmask32)((1ull << left) - 1), codes);
}

AVX512 INLINE __m512 lower(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }

AVX512 INLINE __m512 upper(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xFFFF0000)));
}

AVX512 static float dot_bfloat16(const uint8_t *codes, const uint8_t *scales, const float *x, size_t n)
{
    __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t start = 0;
    (void)scales;
    for (; start + 2 * BFLOAT16_GROUP <= n; start += 2 * BFLOAT16_GROUP) {
        const uint8_t *here = codes + 2 * start;
        const __m512i first = _mm512_loadu_si512(here), second = _mm512_loadu_si512(here + 64);
        _mm_prefetch((const char *)(here + PREFETCH), _MM_HINT_T0);
        _mm_prefetch((const char *)(here + PREFETCH + 64), _MM_HINT_T0);
        sums[0] = _mm512_fmadd_ps(lower(first), _mm512_loadu_ps(x + start), sums[0]);
        sums[1] = _mm512_fmadd_ps(upper(first), _mm512_loadu_ps(x + start + LANES), sums[1]);
        sums[2] = _mm512_fmadd_ps(lower(second), _mm512_loadu_ps(x + start + 2 * LANES), sums[2]);
        sums[3] = _mm512_fmadd_ps(upper(second), _mm512_loadu_ps(x + start + 3 * LANES), sums[3]);
    }
    for (; start < n; start += BFLOAT16_GROUP) {
        const __m512i pairs = load_pairs(codes + 2 * start, n - start);
        sums[0] = _mm512_fmadd_ps(lower(pairs), _mm512_loadu_ps(x + start), sums[0]);
        sums[1] = _mm512_fmadd_ps(upper(pairs), _mm512_loadu_ps(x + start + LANES), sums[1]);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

AVX512 static void unpack_bfloat16(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    (void)scales;
    for (size_t start = 0; start < n; start += BFLOAT16_GROUP) {
        const __m512i pairs = load_pairs(codes + 2 * start, n - start);
        _mm512_storeu_ps(values + start, lower(pairs));
        _mm512_storeu_ps(values + start + LANES, upper(pairs));
    }
}

/* TILE_ROWS rows times a constant number of tokens: every sum stays in a register. */
AVX512 INLINE void tile_of(const int tokens, const float *rows, const float *x, size_t stride, size_t length, float *y)
{
    __m512 sums[TILE_ROWS][TILE_TOKENS];
    for (int r = 0; r < TILE_ROWS; r++)
        for (int t = 0; t < tokens; t++)
            sums[r][t] = _mm512_setzero_ps();
    for (size_t i = 0; i < length; i += LANES) {
        __m512 row[TILE_ROWS];
        for (int r = 0; r < TILE_ROWS; r++)
            row[r] = _mm512_loadu_ps(rows + r * stride + i);
        for (int t = 0; t < tokens; t++) {
            const __m512 token = _mm512_loadu_ps(x + t * stride + i);
            for (int r = 0; r < TILE_ROWS; r++)
                sums[r][t] = _mm512_fmadd_ps(row[r], token, sums[r][t]);
        }
    }
    for (int t = 0; t < tokens; t++)
        for (int r = 0; r < TILE_ROWS; r++)
            y[t * TILE_ROWS + r] += _mm512_reduce_add_ps(sums[r][t]);
}

AVX512 static void tile(const float *rows, const float *x, size_t stride, size_t length, size_t tokens, float *y)
{
    switch (tokens) {
    case TILE_TOKENS: tile_of(TILE_TOKENS, rows, x, stride, length, y); break;
    case 1: tile_of(1, rows, x, stride, length, y); break;
    case 2: tile_of(2, rows, x, stride, length, y); break;
    case 3: tile_of(3, rows, x, stride, length, y); break;
    case 4: tile_of(4, rows, x, stride, length, y); break;
    case 5: tile_of(5, rows, x, stride, length, y); break;
    default: break;
    }
}

const Simd SIMD_AVX512 = {
    .name = "avx512",
    .mxfp4 = {MXFP4_GROUP, MXFP4_ORDER, dot_mxfp4, unpack_mxfp4},
    .bfloat16 = {BFLOAT16_GROUP, BFLOAT16_ORDER, dot_bfloat16, unpack_bfloat16},
    .tile_tokens = TILE_TOKENS,
    .tile = tile,
};

#endif
