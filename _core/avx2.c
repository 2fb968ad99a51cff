/* AVX2 and FMA: codes become 8-bit integers by a shuffle of bytes, twice their value, and then float32. */

#include "simd.h"

#if MINIOSS_X86

#include <immintrin.h>

#define AVX2 TARGET("avx2,fma")

enum { LANES = 8, BLOCK = 32, TILE_TOKENS = 3 };

/* The even numbers of a block, then the odd ones: low nibbles before high, lower halves before upper. */
static const uint8_t EVEN_THEN_ODD[BLOCK] = {
    0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
    1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
};

AVX2 INLINE float sum_of(__m256 lanes)
{
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* Twice the 32 numbers of a block, without its scale. */
AVX2 INLINE void decode_block(const uint8_t *codes, __m256 values[4])
{
    const __m128i twice = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
    const __m128i nibble = _mm_set1_epi8(15);
    const __m128i bytes = _mm_loadu_si128((const __m128i *)codes);
    const __m128i even = _mm_shuffle_epi8(twice, _mm_and_si128(bytes, nibble));
    const __m128i odd = _mm_shuffle_epi8(twice, _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble));
    values[0] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(even));
    values[1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(even, 8)));
    values[2] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(odd));
    values[3] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(odd, 8)));
}

AVX2 INLINE __m256 dot_block(const __m256 values[4], const float *x)
{
    __m256 first = _mm256_mul_ps(values[0], _mm256_loadu_ps(x));
    __m256 second = _mm256_mul_ps(values[1], _mm256_loadu_ps(x + LANES));
    first = _mm256_fmadd_ps(values[2], _mm256_loadu_ps(x + 2 * LANES), first);
    second = _mm256_fmadd_ps(values[3], _mm256_loadu_ps(x + 3 * LANES), second);
    return _mm256_add_ps(first, second);
}

AVX2 INLINE void dot_mxfp4_of(const size_t tokens, const uint8_t *codes, const uint8_t *scales, const float *x,
                              size_t stride, size_t n, float *y)
{
    __m256 sums[DOT_TOKENS] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t start = 0; start < n; start += BLOCK) {
        const __m256 scale = _mm256_set1_ps(0.5f * SCALES[scales[start / BLOCK]]);
        __m256 values[4];
        decode_block(codes + start / 2, values);
        _mm_prefetch((const char *)(codes + start / 2 + PREFETCH), _MM_HINT_T0);
        for (size_t t = 0; t < tokens; t++)
            sums[t] = _mm256_fmadd_ps(dot_block(values, x + t * stride + start), scale, sums[t]);
    }
    for (size_t t = 0; t < tokens; t++)
        y[t] = sum_of(sums[t]);
}

AVX2 static void dot_mxfp4(const uint8_t *codes, const uint8_t *scales, const float *x, size_t stride, size_t tokens,
                           size_t n, float *y)
{
    WITH_CONSTANT_TOKENS(dot_mxfp4_of, codes, scales, x, stride, n, y)
}

AVX2 static void unpack_mxfp4(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    for (size_t start = 0; start < n; start += BLOCK) {
        const __m256 scale = _mm256_set1_ps(SCALES[scales[start / BLOCK]]), half = _mm256_set1_ps(0.5f);
        __m256 decoded[4];
        decode_block(codes + start / 2, decoded);
        for (int part = 0; part < 4; part++)
            _mm256_storeu_ps(values + start + part * LANES,
                             _mm256_mul_ps(_mm256_mul_ps(decoded[part], half), scale));
    }
}

/* The 32 numbers of a block, without its scale. */
AVX2 INLINE void decode_integers(const uint8_t *codes, __m256 values[4])
{
    for (int part = 0; part < 4; part++)
        values[part] = _mm256_cvtepi32_ps(
            _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(codes + part * LANES))));
}

AVX2 INLINE void dot_mxint8_of(const size_t tokens, const uint8_t *codes, const uint8_t *scales, const float *x,
                               size_t stride, size_t n, float *y)
{
    __m256 sums[DOT_TOKENS] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t start = 0; start < n; start += BLOCK) {
        const __m256 scale = _mm256_set1_ps(SCALES[scales[start / BLOCK]]);
        __m256 values[4];
        decode_integers(codes + start, values);
        _mm_prefetch((const char *)(codes + start + PREFETCH), _MM_HINT_T0);
        for (size_t t = 0; t < tokens; t++)
            sums[t] = _mm256_fmadd_ps(dot_block(values, x + t * stride + start), scale, sums[t]);
    }
    for (size_t t = 0; t < tokens; t++)
        y[t] = sum_of(sums[t]);
}

AVX2 static void dot_mxint8(const uint8_t *codes, const uint8_t *scales, const float *x, size_t stride, size_t tokens,
                            size_t n, float *y)
{
    WITH_CONSTANT_TOKENS(dot_mxint8_of, codes, scales, x, stride, n, y)
}

AVX2 static void unpack_mxint8(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    for (size_t start = 0; start < n; start += BLOCK) {
        const __m256 scale = _mm256_set1_ps(SCALES[scales[start / BLOCK]]);
        __m256 decoded[4];
        decode_integers(codes + start, decoded);
        for (int part = 0; part < 4; part++)
            _mm256_storeu_ps(values + start + part * LANES, _mm256_mul_ps(decoded[part], scale));
    }
}

/* The 16 numbers at an even place of 32, or at an odd one, in two registers. */
AVX2 INLINE void decode_pairs(const uint8_t *codes, __m256 values[4])
{
    const __m256i upper = _mm256_set1_epi32((int)0xFFFF0000);
    for (int part = 0; part < 2; part++) {
        const __m256i pairs = _mm256_loadu_si256((const __m256i *)(codes + 32 * part));
        values[part] = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
        values[2 + part] = _mm256_castsi256_ps(_mm256_and_si256(pairs, upper));
    }
}

/* The end of a row whose length is no multiple of 32: a copy with zeros after it. */
AVX2 INLINE const uint8_t *whole_block(const uint8_t *codes, size_t left, uint8_t copy[2 * BLOCK])
{
    if (left >= BLOCK)
        return codes;
    for (size_t byte = 0; byte < 2 * BLOCK; byte++)
        copy[byte] = byte < 2 * left ? codes[byte] : 0;
    return copy;
}

AVX2 INLINE void dot_bfloat16_of(const size_t tokens, const uint8_t *codes, const float *x,
                                 size_t stride, size_t n, float *y)
{
    __m256 sums[DOT_TOKENS][2];
    uint8_t copy[2 * BLOCK];
    for (size_t t = 0; t < tokens; t++)
        sums[t][0] = sums[t][1] = _mm256_setzero_ps();
    for (size_t start = 0; start < n; start += BLOCK) {
        __m256 values[4];
        decode_pairs(whole_block(codes + 2 * start, n - start, copy), values);
        _mm_prefetch((const char *)(codes + 2 * start + PREFETCH), _MM_HINT_T0);
        for (size_t t = 0; t < tokens; t++)
            for (int part = 0; part < 4; part++)
                sums[t][part % 2] = _mm256_fmadd_ps(
                    values[part], _mm256_loadu_ps(x + t * stride + start + part * LANES), sums[t][part % 2]);
    }
    for (size_t t = 0; t < tokens; t++)
        y[t] = sum_of(_mm256_add_ps(sums[t][0], sums[t][1]));
}

AVX2 static void dot_bfloat16(const uint8_t *codes, const uint8_t *scales, const float *x, size_t stride, size_t tokens,
                              size_t n, float *y)
{
    (void)scales;
    WITH_CONSTANT_TOKENS(dot_bfloat16_of, codes, x, stride, n, y)
}

AVX2 static void unpack_bfloat16(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    uint8_t copy[2 * BLOCK];
    (void)scales;
    for (size_t start = 0; start < n; start += BLOCK) {
        __m256 decoded[4];
        decode_pairs(whole_block(codes + 2 * start, n - start, copy), decoded);
        for (int part = 0; part < 4; part++)
            _mm256_storeu_ps(values + start + part * LANES, decoded[part]);
    }
}

/* TILE_ROWS rows times a constant number of tokens: every sum stays in a register. */
AVX2 INLINE void tile_of(const int tokens, const float *rows, size_t row_stride, const float *x, size_t stride,
                         size_t length, float *y)
{
    __m256 sums[TILE_ROWS][TILE_TOKENS];
    for (int r = 0; r < TILE_ROWS; r++)
        for (int t = 0; t < tokens; t++)
            sums[r][t] = _mm256_setzero_ps();
    for (size_t i = 0; i < length; i += LANES)
        for (int r = 0; r < TILE_ROWS; r++) {
            const __m256 row = _mm256_loadu_ps(rows + r * row_stride + i);
            for (int t = 0; t < tokens; t++)
                sums[r][t] = _mm256_fmadd_ps(row, _mm256_loadu_ps(x + t * stride + i), sums[r][t]);
        }
    for (int t = 0; t < tokens; t++)
        for (int r = 0; r < TILE_ROWS; r++)
            y[t * TILE_ROWS + r] += sum_of(sums[r][t]);
}

AVX2 static void tile(const float *rows, size_t row_stride, const float *x, size_t stride, size_t length,
                      size_t tokens, float *y)
{
    switch (tokens) {
    case TILE_TOKENS: tile_of(TILE_TOKENS, rows, row_stride, x, stride, length, y); break;
    case 1: tile_of(1, rows, row_stride, x, stride, length, y); break;
    case 2: tile_of(2, rows, row_stride, x, stride, length, y); break;
    default: break;
    }
}

/* Two registers of numbers at a time, or one; the sums of four rows stay in registers. */
AVX2 INLINE void mix_of(const int parts, const float *shares, size_t share_stride, const float *rows, size_t stride,
                     size_t count, float *y, size_t y_stride, const char *ahead)
{
    __m256 sums[TILE_ROWS][2];
    for (int r = 0; r < TILE_ROWS; r++)
        for (int part = 0; part < parts; part++)
            sums[r][part] = _mm256_loadu_ps(y + r * y_stride + part * LANES);
    for (size_t s = 0; s < count; s++) {
        _mm_prefetch(ahead + s * CACHE_LINE, _MM_HINT_T1);
        for (int part = 0; part < parts; part++) {
            const __m256 row = _mm256_loadu_ps(rows + s * stride + part * LANES);
            for (int r = 0; r < TILE_ROWS; r++)
                sums[r][part] = _mm256_fmadd_ps(_mm256_set1_ps(shares[r * share_stride + s]), row, sums[r][part]);
        }
    }
    for (int r = 0; r < TILE_ROWS; r++)
        for (int part = 0; part < parts; part++)
            _mm256_storeu_ps(y + r * y_stride + part * LANES, sums[r][part]);
}

AVX2 static void mix(const float *shares, size_t share_stride, const float *rows, size_t stride, size_t count,
                     size_t length, float *y, size_t y_stride, const char *ahead)
{
    size_t i = 0;
    for (; i + 2 * LANES <= length; i += 2 * LANES, ahead += count * CACHE_LINE)
        mix_of(2, shares, share_stride, rows + i, stride, count, y + i, y_stride, ahead);
    for (; i < length; i += LANES)
        mix_of(1, shares, share_stride, rows + i, stride, count, y + i, y_stride, ahead);
}

/* Eight rows become columns, four numbers of each at a time: a register holds rows r and r + 4, so that two
 * rounds of unpacking put neighbours side by side. */
AVX2 static void transpose(const float *rows, size_t stride, size_t count, size_t length, float *columns)
{
    for (size_t s = 0; s < (count + 15) / 16 * 16; s += LANES) {
        const float *from[LANES];
        for (size_t r = 0; r < LANES; r++)
            from[r] = rows + (s + r < count ? s + r : count - 1) * stride;
        for (size_t i = 0; i < length; i += 4) {
            __m256 four[4];
            for (size_t r = 0; r < 4; r++) {
                four[r] = _mm256_castps128_ps256(_mm_loadu_ps(from[r] + i));
                four[r] = _mm256_insertf128_ps(four[r], _mm_loadu_ps(from[r + 4] + i), 1);
            }
            const __m256d low01 = _mm256_castps_pd(_mm256_unpacklo_ps(four[0], four[1]));
            const __m256d high01 = _mm256_castps_pd(_mm256_unpackhi_ps(four[0], four[1]));
            const __m256d low23 = _mm256_castps_pd(_mm256_unpacklo_ps(four[2], four[3]));
            const __m256d high23 = _mm256_castps_pd(_mm256_unpackhi_ps(four[2], four[3]));
            float *to = columns + i * CHUNK + s;
            _mm256_storeu_ps(to, _mm256_castpd_ps(_mm256_unpacklo_pd(low01, low23)));
            _mm256_storeu_ps(to + CHUNK, _mm256_castpd_ps(_mm256_unpackhi_pd(low01, low23)));
            _mm256_storeu_ps(to + 2 * CHUNK, _mm256_castpd_ps(_mm256_unpacklo_pd(high01, high23)));
            _mm256_storeu_ps(to + 3 * CHUNK, _mm256_castpd_ps(_mm256_unpackhi_pd(high01, high23)));
        }
    }
}

AVX2 static float soften(float *scores, size_t count, float *largest, float *total)
{
    return soften_of(scores, count, largest, total);
}

AVX2 static void swiglu(const float *gate_up, float *activation, size_t count, float alpha, float limit)
{
    swiglu_of(gate_up, activation, count, alpha, limit);
}

AVX2 static double spin(size_t rounds)
{
    enum { CHAINS = 12 };
    volatile float given = 0.5f, kept;
    const __m256 half = _mm256_set1_ps(given);
    __m256 sums[CHAINS];
    for (int chain = 0; chain < CHAINS; chain++)
        sums[chain] = half;
    for (size_t round = 0; round < rounds; round++)
#pragma GCC unroll 12
        for (int chain = 0; chain < CHAINS; chain++)
            sums[chain] = _mm256_fmadd_ps(sums[chain], half, half);
    for (int chain = 0; chain < CHAINS; chain++)
        kept = sum_of(sums[chain]);
    (void)kept;
    return 2.0 * LANES * CHAINS * (double)rounds;
}

#define AVX2_PRODUCT FLOAT32_PRODUCT("float32 in AVX2 and FMA", spin)

const Simd SIMD_AVX2 = {
    .name = "avx2",
    .mxfp4 = {BLOCK, EVEN_THEN_ODD, dot_mxfp4, unpack_mxfp4, NULL, NULL, 0, NULL},
    .mxint8 = {BLOCK, IN_ORDER, dot_mxint8, unpack_mxint8, NULL, NULL, 0, NULL},
    .bfloat16 = {BLOCK, EVEN_THEN_ODD, dot_bfloat16, unpack_bfloat16, NULL, NULL, 0, NULL},
    .products = {AVX2_PRODUCT, AVX2_PRODUCT, AVX2_PRODUCT},
    .tile_tokens = TILE_TOKENS,
    .tile = tile,
    .mix = mix,
    .transpose = transpose,
    .soften = soften,
    .swiglu = swiglu,
};

#endif
