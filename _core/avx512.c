/* AVX-512: sixteen 4-bit codes become float32 by one permutation of a register. */

#include "simd.h"

#if MINIOSS_X86

#include <immintrin.h>

#define AVX512 TARGET("avx512f,avx512bw,avx512vl,avx2,fma")

enum { LANES = 16, MXFP4_GROUP = 128, BFLOAT16_GROUP = 32, TILE_TOKENS = 6 };

/* A register holds four blocks as 16 words of 32 bits, and each of these 8 codes: code k of word i is the group's
 * number 8 i + k. Codes k and k + 4 stand side by side: as bfloat16 they are the halves of a word. */
#define CODE(k) k, 8 + k, 16 + k, 24 + k, 32 + k, 40 + k, 48 + k, 56 + k, 64 + k, 72 + k, 80 + k, 88 + k, 96 + k, \
    104 + k, 112 + k, 120 + k
static const uint8_t MXFP4_ORDER[MXFP4_GROUP] = {
    CODE(0), CODE(4), CODE(1), CODE(5), CODE(2), CODE(6), CODE(3), CODE(7),
};
#define PLACE(k) ((k) < 4 ? 2 * (k) : 2 * (k) - 7)

/* Sixteen pairs: the lower halves, then the upper. */
static const uint8_t BFLOAT16_ORDER[BFLOAT16_GROUP] = {
    0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
    1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
};

/* The scales of up to 16 blocks. A byte of 0 or 255 is no plain exponent: it is noted in `edges`, or looked up. */
AVX512 INLINE __m512 load_scales(const int edge, const uint8_t *scales, size_t blocks, __mmask16 *edges)
{
    const __mmask16 there = blocks < 16 ? (__mmask16)((1u << blocks) - 1) : 0xFFFF;
    const __m512i exponents = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(there, scales));
    if (edge)
        return _mm512_i32gather_ps(exponents, SCALES, sizeof(float));
    const __m512i from_one = _mm512_sub_epi32(exponents, _mm512_set1_epi32(1));
    *edges |= _mm512_mask_cmp_epu32_mask(there, from_one, _mm512_set1_epi32(253), _MM_CMPINT_NLE);
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponents, 23));
}

/* The scales of one of four groups, each four times. */
AVX512 INLINE __m512 scales_of(__m512 scales, int group)
{
    const __m512i each_four_times = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    return _mm512_permutexvar_ps(_mm512_add_epi32(each_four_times, _mm512_set1_epi32(4 * group)), scales);
}

/* The codes of a group, of which `blocks` are left in the row: those beyond are zero. */
AVX512 INLINE __m512i load_codes(const uint8_t *codes, size_t blocks)
{
    return blocks >= 4 ? _mm512_loadu_si512(codes)
                       : _mm512_maskz_loadu_epi32((__mmask16)((1u << 4 * blocks) - 1), codes);
}

/* Code k of each word, without its scale. A permutation looks at the lowest four bits alone. */
AVX512 INLINE __m512 decoded(__m512i codes, int k, __m512 table)
{
    return _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4 * k), table);
}

/* Sixteen blocks of each row, of which `blocks` are left, for several rows and tokens. */
AVX512 INLINE void add_blocks(const size_t rows, const size_t tokens, const int edge, const uint8_t *codes, size_t apart,
                              const uint8_t *scales, size_t scales_apart, size_t blocks, const float *x, size_t stride,
                              __m512 *sums, __mmask16 *edges)
{
    const __m512 table = _mm512_loadu_ps(MXFP4_CODES);
    __m512 sixteen[DOT_ROWS];
    for (size_t r = 0; r < rows; r++)
        sixteen[r] = load_scales(edge, scales + r * scales_apart, blocks, edges);
    for (size_t group = 0; 4 * group < blocks; group++) {
        __m512i four[DOT_ROWS];
        __m512 products[DOT_ROWS * DOT_TOKENS];
        for (size_t r = 0; r < rows; r++) {
            four[r] = load_codes(codes + r * apart + 64 * group, blocks - 4 * group);
            __asm__("" : "+v"(four[r])); /* once, into a register: GCC would load it anew for every shift */
            _mm_prefetch((const char *)(codes + r * apart + 64 * group + PREFETCH), _MM_HINT_T0);
        }
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            __m512 values[DOT_ROWS];
            for (size_t r = 0; r < rows; r++)
                values[r] = decoded(four[r], k, table);
            for (size_t t = 0; t < tokens; t++) {
                const __m512 here = _mm512_loadu_ps(x + t * stride + group * MXFP4_GROUP + PLACE(k) * LANES);
                for (size_t r = 0; r < rows; r++) {
                    __m512 *product = products + r * tokens + t;
                    *product = k ? _mm512_fmadd_ps(values[r], here, *product) : _mm512_mul_ps(values[r], here);
                }
            }
        }
        for (size_t r = 0; r < rows; r++)
            for (size_t t = 0; t < tokens; t++)
                sums[r * tokens + t] = _mm512_fmadd_ps(products[r * tokens + t], scales_of(sixteen[r], (int)group),
                                                       sums[r * tokens + t]);
    }
}

/* Returns whether a scale was at an edge, where those were not to be looked up: then the sums are wrong. */
AVX512 INLINE int dot_rows(const size_t rows, const size_t tokens, const int edge, const uint8_t *codes, size_t apart,
                           const uint8_t *scales, size_t scales_apart, const float *x, size_t stride, size_t n, float *y)
{
    __m512 sums[DOT_ROWS * DOT_TOKENS];
    __mmask16 edges = 0;
    for (size_t i = 0; i < rows * tokens; i++)
        sums[i] = _mm512_setzero_ps();
    size_t start = 0;
    for (; start + 4 * MXFP4_GROUP <= n; start += 4 * MXFP4_GROUP)
        add_blocks(rows, tokens, edge, codes + start / 2, apart, scales + start / 32, scales_apart, 16, x + start, stride,
                   sums, &edges);
    if (start < n)
        add_blocks(rows, tokens, edge, codes + start / 2, apart, scales + start / 32, scales_apart, (n - start) / 32,
                   x + start, stride, sums, &edges);
    for (size_t i = 0; i < rows * tokens; i++)
        y[i] = _mm512_reduce_add_ps(sums[i]);
    return edges != 0;
}

/* The scales of a row some rows on: a stream of its own, too thin for the processor to foresee. */
AVX512 INLINE void ask_for_scales(const uint8_t *scales, size_t blocks)
{
    for (size_t block = 0; block < blocks; block += CACHE_LINE)
        _mm_prefetch((const char *)(scales + PREFETCH_SCALES + block), _MM_HINT_T0);
}

/* What a format's `dot` and `dot_together` are, for its product of rows and tokens in constant numbers. The sums of four
 * rows and two tokens stay in registers; with more tokens it is two rows after two. */
#define DOTS_OF(dot_of, dot, dot_together) \
    AVX512 static void dot(const uint8_t *codes, const uint8_t *scales, const float *x, size_t stride, size_t tokens, \
                           size_t n, float *y) \
    { \
        switch (tokens) { \
        case 1: dot_of(1, 1, codes, 0, scales, 0, x, stride, n, y); break; \
        case 2: dot_of(1, 2, codes, 0, scales, 0, x, stride, n, y); break; \
        case 3: dot_of(1, 3, codes, 0, scales, 0, x, stride, n, y); break; \
        case 4: dot_of(1, 4, codes, 0, scales, 0, x, stride, n, y); break; \
        default: break; \
        } \
    } \
    AVX512 static void dot_together(const uint8_t *codes, size_t apart, const uint8_t *scales, size_t scales_apart, \
                                    const float *x, size_t stride, size_t tokens, size_t n, float *y) \
    { \
        const uint8_t *later_codes = codes + 2 * apart, *later_scales = scales ? scales + 2 * scales_apart : NULL; \
        switch (tokens) { \
        case 1: dot_of(4, 1, codes, apart, scales, scales_apart, x, stride, n, y); break; \
        case 2: dot_of(4, 2, codes, apart, scales, scales_apart, x, stride, n, y); break; \
        case 3: \
            dot_of(2, 3, codes, apart, scales, scales_apart, x, stride, n, y); \
            dot_of(2, 3, later_codes, apart, later_scales, scales_apart, x, stride, n, y + 6); \
            break; \
        case 4: \
            dot_of(2, 4, codes, apart, scales, scales_apart, x, stride, n, y); \
            dot_of(2, 4, later_codes, apart, later_scales, scales_apart, x, stride, n, y + 8); \
            break; \
        default: break; \
        } \
    }

AVX512 INLINE void dot_mxfp4_of(const size_t rows, const size_t tokens, const uint8_t *codes, size_t apart,
                                const uint8_t *scales, size_t scales_apart, const float *x, size_t stride, size_t n,
                                float *y)
{
    for (size_t r = 0; r < rows; r++)
        ask_for_scales(scales + r * scales_apart, n / 32);
    if (dot_rows(rows, tokens, 0, codes, apart, scales, scales_apart, x, stride, n, y))
        dot_rows(rows, tokens, 1, codes, apart, scales, scales_apart, x, stride, n, y);
}

DOTS_OF(dot_mxfp4_of, dot_mxfp4, dot_mxfp4_together)

AVX512 static void unpack_mxfp4(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    const __m512 table = _mm512_loadu_ps(MXFP4_CODES);
    for (size_t start = 0; start < n; start += MXFP4_GROUP) {
        const size_t blocks = (n - start) / 32;
        const __m512 each = scales_of(load_scales(1, scales + start / 32, blocks < 4 ? blocks : 4, NULL), 0);
        const __m512i four = load_codes(codes + start / 2, blocks);
        _mm_prefetch((const char *)(codes + start / 2 + PREFETCH), _MM_HINT_T0);
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++)
            _mm512_storeu_ps(values + start + PLACE(k) * LANES, _mm512_mul_ps(decoded(four, k, table), each));
    }
}

/* Sixteen integers, without their scale. */
AVX512 INLINE __m512 decode_integers(const uint8_t *codes)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)codes)));
}

AVX512 INLINE void dot_mxint8_of(const size_t rows, const size_t tokens, const uint8_t *codes, size_t apart,
                                 const uint8_t *scales, size_t scales_apart, const float *x, size_t stride, size_t n,
                                 float *y)
{
    __m512 sums[DOT_ROWS * DOT_TOKENS];
    for (size_t r = 0; r < rows; r++)
        ask_for_scales(scales + r * scales_apart, n / 32);
    for (size_t i = 0; i < rows * tokens; i++)
        sums[i] = _mm512_setzero_ps();
    for (size_t start = 0; start < n; start += 32)
        for (size_t r = 0; r < rows; r++) {
            const uint8_t *row = codes + r * apart + start;
            const __m512 scale = _mm512_set1_ps(SCALES[scales[r * scales_apart + start / 32]]);
            const __m512 first = decode_integers(row), second = decode_integers(row + LANES);
            _mm_prefetch((const char *)(row + PREFETCH), _MM_HINT_T0);
            for (size_t t = 0; t < tokens; t++) {
                const float *here = x + t * stride + start;
                const __m512 product = _mm512_mul_ps(first, _mm512_loadu_ps(here));
                __m512 *sum = sums + r * tokens + t;
                *sum = _mm512_fmadd_ps(_mm512_fmadd_ps(second, _mm512_loadu_ps(here + LANES), product), scale, *sum);
            }
        }
    for (size_t i = 0; i < rows * tokens; i++)
        y[i] = _mm512_reduce_add_ps(sums[i]);
}

DOTS_OF(dot_mxint8_of, dot_mxint8, dot_mxint8_together)

AVX512 static void unpack_mxint8(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    for (size_t start = 0; start < n; start += 32) {
        const __m512 scale = _mm512_set1_ps(SCALES[scales[start / 32]]);
        _mm512_storeu_ps(values + start, _mm512_mul_ps(decode_integers(codes + start), scale));
        _mm512_storeu_ps(values + start + LANES, _mm512_mul_ps(decode_integers(codes + start + LANES), scale));
    }
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

AVX512 INLINE void dot_bfloat16_of(const size_t rows, const size_t tokens, const uint8_t *codes, size_t apart,
                                   const uint8_t *scales, size_t scales_apart, const float *x, size_t stride, size_t n,
                                   float *y)
{
    (void)scales;
    (void)scales_apart;
    __m512 sums[DOT_ROWS * DOT_TOKENS][2];
    for (size_t i = 0; i < rows * tokens; i++)
        sums[i][0] = sums[i][1] = _mm512_setzero_ps();
    for (size_t start = 0; start < n; start += BFLOAT16_GROUP)
        for (size_t r = 0; r < rows; r++) {
            const uint8_t *row = codes + r * apart + 2 * start;
            const __m512i pairs = load_pairs(row, n - start);
            _mm_prefetch((const char *)(row + PREFETCH), _MM_HINT_T0);
            for (size_t t = 0; t < tokens; t++) {
                const float *here = x + t * stride + start;
                __m512 *sum = sums[r * tokens + t];
                sum[0] = _mm512_fmadd_ps(lower(pairs), _mm512_loadu_ps(here), sum[0]);
                sum[1] = _mm512_fmadd_ps(upper(pairs), _mm512_loadu_ps(here + LANES), sum[1]);
            }
        }
    for (size_t i = 0; i < rows * tokens; i++)
        y[i] = _mm512_reduce_add_ps(_mm512_add_ps(sums[i][0], sums[i][1]));
}

DOTS_OF(dot_bfloat16_of, dot_bfloat16, dot_bfloat16_together)

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
AVX512 INLINE void tile_of(const int tokens, const float *rows, size_t row_stride, const float *x, size_t stride,
                           size_t length, float *y)
{
    __m512 sums[TILE_ROWS][TILE_TOKENS];
    for (int r = 0; r < TILE_ROWS; r++)
        for (int t = 0; t < tokens; t++)
            sums[r][t] = _mm512_setzero_ps();
    for (size_t i = 0; i < length; i += LANES) {
        __m512 row[TILE_ROWS];
        for (int r = 0; r < TILE_ROWS; r++)
            row[r] = _mm512_loadu_ps(rows + r * row_stride + i);
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

AVX512 static void tile(const float *rows, size_t row_stride, const float *x, size_t stride, size_t length,
                        size_t tokens, float *y)
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

/* Two registers of numbers at a time, or one; the sums of four rows stay in registers. */
AVX512 INLINE void mix_of(const int parts, const float *shares, size_t share_stride, const float *rows, size_t stride,
                       size_t count, float *y, size_t y_stride, const char *ahead)
{
    __m512 sums[TILE_ROWS][2];
    for (int r = 0; r < TILE_ROWS; r++)
        for (int part = 0; part < parts; part++)
            sums[r][part] = _mm512_loadu_ps(y + r * y_stride + part * LANES);
    for (size_t s = 0; s < count; s++) {
        _mm_prefetch(ahead + s * CACHE_LINE, _MM_HINT_T1);
        for (int part = 0; part < parts; part++) {
            const __m512 row = _mm512_loadu_ps(rows + s * stride + part * LANES);
            for (int r = 0; r < TILE_ROWS; r++)
                sums[r][part] = _mm512_fmadd_ps(_mm512_set1_ps(shares[r * share_stride + s]), row, sums[r][part]);
        }
    }
    for (int r = 0; r < TILE_ROWS; r++)
        for (int part = 0; part < parts; part++)
            _mm512_storeu_ps(y + r * y_stride + part * LANES, sums[r][part]);
}

AVX512 static void mix(const float *shares, size_t share_stride, const float *rows, size_t stride, size_t count,
                       size_t length, float *y, size_t y_stride, const char *ahead)
{
    size_t i = 0;
    for (; i + 2 * LANES <= length; i += 2 * LANES, ahead += count * CACHE_LINE)
        mix_of(2, shares, share_stride, rows + i, stride, count, y + i, y_stride, ahead);
    for (; i < length; i += LANES)
        mix_of(1, shares, share_stride, rows + i, stride, count, y + i, y_stride, ahead);
}

/* Sixteen rows become columns, four numbers of each at a time: a register holds rows r, r + 4, r + 8 and r + 12, so that
 * two rounds of unpacking put neighbours side by side. */
AVX512 static void transpose(const float *rows, size_t stride, size_t count, size_t length, float *columns)
{
    for (size_t s = 0; s < count; s += LANES) {
        const float *from[LANES];
        for (size_t r = 0; r < LANES; r++)
            from[r] = rows + (s + r < count ? s + r : count - 1) * stride;
        for (size_t i = 0; i < length; i += 4) {
            __m512 four[4];
            for (size_t r = 0; r < 4; r++) {
                four[r] = _mm512_castps128_ps512(_mm_loadu_ps(from[r] + i));
                four[r] = _mm512_insertf32x4(four[r], _mm_loadu_ps(from[r + 4] + i), 1);
                four[r] = _mm512_insertf32x4(four[r], _mm_loadu_ps(from[r + 8] + i), 2);
                four[r] = _mm512_insertf32x4(four[r], _mm_loadu_ps(from[r + 12] + i), 3);
            }
            const __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(four[0], four[1]));
            const __m512d high01 = _mm512_castps_pd(_mm512_unpackhi_ps(four[0], four[1]));
            const __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(four[2], four[3]));
            const __m512d high23 = _mm512_castps_pd(_mm512_unpackhi_ps(four[2], four[3]));
            float *to = columns + i * CHUNK + s;
            _mm512_storeu_ps(to, _mm512_castpd_ps(_mm512_unpacklo_pd(low01, low23)));
            _mm512_storeu_ps(to + CHUNK, _mm512_castpd_ps(_mm512_unpackhi_pd(low01, low23)));
            _mm512_storeu_ps(to + 2 * CHUNK, _mm512_castpd_ps(_mm512_unpacklo_pd(high01, high23)));
            _mm512_storeu_ps(to + 3 * CHUNK, _mm512_castpd_ps(_mm512_unpackhi_pd(high01, high23)));
        }
    }
}

AVX512 static float soften(float *scores, size_t count, float *largest, float *total)
{
    return soften_of(scores, count, largest, total);
}

AVX512 static void swiglu(const float *gate_up, float *activation, size_t count, float alpha, float limit)
{
    swiglu_of(gate_up, activation, count, alpha, limit);
}

AVX512 static double spin(size_t rounds)
{
    enum { CHAINS = 16 };
    volatile float given = 0.5f, kept;
    const __m512 half = _mm512_set1_ps(given);
    __m512 sums[CHAINS];
    for (int chain = 0; chain < CHAINS; chain++)
        sums[chain] = half;
    for (size_t round = 0; round < rounds; round++)
#pragma GCC unroll 16
        for (int chain = 0; chain < CHAINS; chain++)
            sums[chain] = _mm512_fmadd_ps(sums[chain], half, half);
    for (int chain = 0; chain < CHAINS; chain++)
        kept = _mm512_reduce_add_ps(sums[chain]);
    (void)kept;
    return 2.0 * LANES * CHAINS * (double)rounds;
}

#define AVX512_PRODUCT FLOAT32_PRODUCT("float32 in AVX-512", spin)

const Simd SIMD_AVX512 = {
    .name = "avx512",
    .mxfp4 = {MXFP4_GROUP, MXFP4_ORDER, dot_mxfp4, unpack_mxfp4, NULL, NULL, 0, dot_mxfp4_together},
    .mxint8 = {BFLOAT16_GROUP, IN_ORDER, dot_mxint8, unpack_mxint8, NULL, NULL, 0, dot_mxint8_together},
    .bfloat16 = {BFLOAT16_GROUP, BFLOAT16_ORDER, dot_bfloat16, unpack_bfloat16, NULL, NULL, 0, dot_bfloat16_together},
    .products = {AVX512_PRODUCT, AVX512_PRODUCT, AVX512_PRODUCT},
    .tile_tokens = TILE_TOKENS,
    .tile = tile,
    .mix = mix,
    .transpose = transpose,
    .soften = soften,
    .swiglu = swiglu,
};

/* The same, with a product of 8-bit integers. */
const Simd SIMD_AVX512_VNNI = {
    .name = "avx512vnni",
    .mxfp4 = {MXFP4_GROUP, MXFP4_ORDER, dot_mxfp4, unpack_mxfp4, NULL, unpack_integers_mxfp4, 12, dot_mxfp4_together},
    .mxint8 = {BFLOAT16_GROUP, IN_ORDER, dot_mxint8, unpack_mxint8, NULL, unpack_integers_mxint8, 128,
               dot_mxint8_together},
    .bfloat16 = {BFLOAT16_GROUP, BFLOAT16_ORDER, dot_bfloat16, unpack_bfloat16, NULL, NULL, 0, dot_bfloat16_together},
    .products = {AVX512_PRODUCT, AVX512_PRODUCT, VNNI_PRODUCT},
    .tile_tokens = TILE_TOKENS,
    .tile = tile,
    .mix = mix,
    .transpose = transpose,
    .soften = soften,
    .swiglu = swiglu,
};

/* The same, with products of tiles of bfloat16. */
const Simd SIMD_AMX = {
    .name = "amx",
    .mxfp4 = {MXFP4_GROUP, MXFP4_ORDER, dot_mxfp4, unpack_mxfp4, unpack_pairs_mxfp4, NULL, 0, dot_mxfp4_together},
    .mxint8 = {BFLOAT16_GROUP, IN_ORDER, dot_mxint8, unpack_mxint8, NULL, NULL, 0, dot_mxint8_together},
    .bfloat16 = {BFLOAT16_GROUP, BFLOAT16_ORDER, dot_bfloat16, unpack_bfloat16, unpack_pairs_bfloat16, NULL, 0,
                 dot_bfloat16_together},
    .products = {AMX_FLOAT32_PRODUCT, AMX_BFLOAT16_PRODUCT, AMX_FLOAT32_PRODUCT},
    .tile_tokens = TILE_TOKENS,
    .tile = tile,
    .mix = mix,
    .transpose = transpose,
    .soften = soften,
    .swiglu = swiglu,
};

#endif
