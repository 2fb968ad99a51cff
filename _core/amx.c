/* AMX: products of tiles of bfloat16, 16 rows by 16 tokens by 32 numbers, summed in float32.
 *
 * Every weight is exactly a bfloat16 number, in all formats. A float32 number of x is exactly the sum of three: its
 * upper 8 significant bits, the next 8 and the last. So three products give the float32 product, and one that of x
 * rounded to bfloat16. The tiles take numbers below 2^-126 as zero; rows of MXFP4 that have such are multiplied without them.
 */

#include "simd.h"

#if MINIOSS_X86

#include <immintrin.h>

#define AMX TARGET("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx2,fma")

/* A tile is 16 rows of 64 bytes: of weights, 16 rows of 32 numbers; of x, 16 pairs of numbers of 16 tokens each. */
enum { TILE = 16, TILE_NUMBERS = 32, TILE_BYTES = 1024, LARGEST_PARTS = 3 };

typedef struct {
    uint8_t palette, start_row, unused[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileConfig;

static const TileConfig ALL_TILES_WHOLE = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

AMX INLINE __m512i upper_bits(__m512 x)
{
    return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32((int)0xFFFF0000));
}

/* Sixteen pairs: the upper halves of 16 numbers, and those of 16 others above them. */
AMX INLINE __m512i pairs_of(__m512 first, __m512 second)
{
    return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(first), 16), upper_bits(second));
}

/* Sixteen rows of sixteen words of 32 bits, turned into columns. */
AMX INLINE void transpose(__m512i rows[TILE])
{
    __m512i a[TILE], b[TILE];
#pragma GCC unroll 8
    for (int i = 0; i < TILE; i += 2) {
        a[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < TILE; i += 4) {
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        a[i] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0x88);
        a[i + 4] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0x88);
        a[i + 8] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0xDD);
        a[i + 12] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0xDD);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        rows[i] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88);
        rows[i + 8] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xDD);
        rows[i + 4] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88);
        rows[i + 12] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xDD);
    }
}

size_t token_bytes_amx_float32(size_t length) { return length * 3 * sizeof(uint16_t); }

size_t token_bytes_amx_bfloat16(size_t length) { return length * sizeof(float); }

/* TASK_ROWS rows of bfloat16 and one of float32. */
size_t panel_bytes_amx(size_t length) { return length * (TASK_ROWS * sizeof(uint16_t) + sizeof(float)); }

/* For every 32 numbers of up to 16 tokens a tile a part, the largest part first. */
AMX INLINE void lay_out(const int parts, const float *rows, size_t length, size_t tokens, uint8_t *x)
{
    for (size_t start = 0; start < length; start += TILE_NUMBERS) {
        __m512i words[LARGEST_PARTS][TILE];
        for (size_t token = 0; token < TILE; token++) {
            const int there = token < tokens;
            const float *row = rows + token * length + start;
            __m512 first = there ? _mm512_loadu_ps(row) : _mm512_setzero_ps();
            __m512 second = there ? _mm512_loadu_ps(row + 16) : _mm512_setzero_ps();
            for (int part = 0; part < parts; part++) {
                words[part][token] = pairs_of(first, second);
                first = _mm512_sub_ps(first, _mm512_castsi512_ps(upper_bits(first)));
                second = _mm512_sub_ps(second, _mm512_castsi512_ps(upper_bits(second)));
            }
        }
        for (int part = 0; part < parts; part++) {
            transpose(words[part]);
            for (int pair = 0; pair < TILE; pair++, x += 64)
                _mm512_storeu_si512(x, words[part][pair]);
        }
    }
}

AMX void lay_out_amx_float32(const Format *format, const float *rows, size_t length, size_t tokens, void *x)
{
    (void)format;
    lay_out(3, rows, length, tokens, x);
}

AMX void lay_out_amx_bfloat16(const Format *format, const float *rows, size_t length, size_t tokens, void *x)
{
    (void)format;
    lay_out(1, rows, length, tokens, x);
}

void unpack_pairs_bfloat16(const uint8_t *codes, const uint8_t *scales, uint16_t *pairs, size_t n)
{
    (void)scales;
    memcpy(pairs, codes, n * sizeof(uint16_t));
    for (; n % TILE_NUMBERS; n++)
        pairs[n] = 0;
}

/* Whether all scales of a row leave every code a normal number. */
AMX INLINE int all_plain(const uint8_t *scales, size_t blocks)
{
    __mmask64 others = 0;
    for (size_t start = 0; start < blocks; start += 64) {
        const __mmask64 there = blocks - start < 64 ? (1ull << (blocks - start)) - 1 : ~0ull;
        const __m512i bytes = _mm512_maskz_loadu_epi8(there, scales + start);
        const __m512i from_two = _mm512_sub_epi8(bytes, _mm512_set1_epi8(2));
        others |= _mm512_mask_cmpgt_epu8_mask(there, from_two, _mm512_set1_epi8((char)250));
    }
    return others == 0;
}

/* Each of 32 words of 16 bits holds four codes: a permutation looks one up, and the scale is added to its exponent. */
AMX void unpack_pairs_mxfp4(const uint8_t *codes, const uint8_t *scales, uint16_t *pairs, size_t n)
{
    static const uint16_t CODES[32] = {
        0x0000, 0x3F00, 0x3F80, 0x3FC0, 0x4000, 0x4040, 0x4080, 0x40C0, 0x8000, 0xBF00, 0xBF80, 0xBFC0, 0xC000, 0xC040, 0xC080, 0xC0C0,
        0x0000, 0x3F00, 0x3F80, 0x3FC0, 0x4000, 0x4040, 0x4080, 0x40C0, 0x8000, 0xBF00, 0xBF80, 0xBFC0, 0xC000, 0xC040, 0xC080, 0xC0C0,
    };
    const __m512i table = _mm512_loadu_si512(CODES), magnitude = _mm512_set1_epi16(7);
    /* Byte b of four goes to words 8 b to 8 b + 7. */
    const __m512i spread = _mm512_set_epi64(0x0303030303030303, 0x0303030303030303, 0x0202020202020202, 0x0202020202020202,
                                            0x0101010101010101, 0x0101010101010101, 0, 0);
    for (size_t start = 0; start < n; start += 128) {
        const size_t blocks = (n - start) / 32;
        const __mmask16 there = blocks < 4 ? (__mmask16)((1u << 4 * blocks) - 1) : 0xFFFF;
        const __m512i four = _mm512_maskz_loadu_epi32(there, codes + start / 2);
        const __m128i bytes = _mm_maskz_loadu_epi8(blocks < 4 ? (__mmask16)((1u << blocks) - 1) : 15, scales + start / 32);
        const __m512i exponents = _mm512_slli_epi16(
            _mm512_sub_epi16(_mm512_and_si512(_mm512_shuffle_epi8(_mm512_broadcastd_epi32(bytes), spread),
                                              _mm512_set1_epi16(255)),
                             _mm512_set1_epi16(127)),
            7);
        _mm_prefetch((const char *)(codes + start / 2 + PREFETCH), _MM_HINT_T0);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            const __m512i code = _mm512_srli_epi16(four, 4 * k), value = _mm512_permutexvar_epi16(code, table);
            _mm512_storeu_si512(pairs + start + 32 * k,
                                _mm512_mask_add_epi16(value, _mm512_test_epi16_mask(code, magnitude), value, exponents));
        }
    }
}

/* Unpack one row as pairs of bfloat16. */
AMX INLINE void unpack_row(const Matrix *matrix, size_t row, size_t length, uint16_t *pairs, float *values)
{
    const uint8_t *codes = matrix->codes + row * matrix->row_bytes;
    const uint8_t *scales = matrix->scales ? matrix->scales + row * matrix->row_scales : NULL;
    if (matrix->format->unpack_pairs && (!scales || all_plain(scales, matrix->row_scales))) {
        matrix->format->unpack_pairs(codes, scales, pairs, matrix->length);
        return;
    }
    matrix->format->unpack(codes, scales, values, matrix->length);
    for (size_t i = 0; i < length; i += TILE_NUMBERS)
        _mm512_storeu_si512(pairs + i, pairs_of(_mm512_loadu_ps(values + i), _mm512_loadu_ps(values + i + 16)));
}

/* Add up the products of two times 16 rows and one or two blocks of 16 tokens, and leave them in `sums`. */
AMX INLINE void multiply_tiles(const int parts, const int blocks, const uint8_t *pairs, size_t length, const uint8_t *x,
                               size_t block_bytes, float *sums)
{
    const size_t row_bytes = length * sizeof(uint16_t);
    const uint8_t *lower_rows = pairs + TILE * row_bytes;
    const uint8_t *later_tokens = x + block_bytes;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t step = 0; step < length / TILE_NUMBERS; step++) {
        _tile_loadd(4, pairs + step * TILE_NUMBERS * sizeof(uint16_t), row_bytes);
        _tile_loadd(5, lower_rows + step * TILE_NUMBERS * sizeof(uint16_t), row_bytes);
        for (int part = 0; part < parts; part++) {
            const size_t tile = (step * parts + part) * TILE_BYTES;
            _tile_loadd(6, x + tile, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 5, 6);
            if (blocks == 1)
                continue;
            _tile_loadd(7, later_tokens + tile, 64);
            _tile_dpbf16ps(2, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + TILE * TILE, 64);
    _tile_stored(2, sums + 2 * TILE * TILE, 64);
    _tile_stored(3, sums + 3 * TILE * TILE, 64);
}

/* Store 16 rows by up to 16 tokens of sums, a token's rows side by side. */
AMX INLINE void store_sums(const float *sums, size_t rows, size_t tokens, float *y, size_t stride)
{
    const __mmask16 there = rows < TILE ? (__mmask16)((1u << rows) - 1) : 0xFFFF;
    __m512i columns[TILE];
    for (int row = 0; row < TILE; row++)
        columns[row] = _mm512_loadu_si512(sums + row * TILE);
    transpose(columns);
    for (size_t token = 0; token < tokens && token < TILE; token++)
        _mm512_mask_storeu_epi32(y + token * stride, there, columns[token]);
}

/* Rows as pairs of bfloat16. Up to two blocks of tokens go over them once: then rows that are such pairs are read where
 * they lie, many at a time, which is faster than to copy them first. */
AMX INLINE const uint8_t *pairs_of_rows(const Matrix *matrix, size_t first, size_t rows, size_t length, size_t tokens,
                                         uint16_t *panel)
{
    if (matrix->format->unpack_pairs == unpack_pairs_bfloat16 && length == matrix->length && rows % (2 * TILE) == 0 &&
        tokens <= 2 * TILE)
        return matrix->codes + first * matrix->row_bytes;
    for (size_t row = 0; row < rows; row++)
        unpack_row(matrix, first + row, length, panel + row * length, (float *)(panel + TASK_ROWS * length));
    for (size_t row = rows; row % (2 * TILE); row++)
        memset(panel + row * length, 0, length * sizeof(uint16_t));
    return (const uint8_t *)panel;
}

/* One row of float32 numbers times a block of laid out tokens. */
AMX INLINE __m512 multiply_row(const int parts, const float *values, size_t length, const uint8_t *x)
{
    __m512 sums = _mm512_setzero_ps();
    for (size_t start = 0; start < length; start += TILE_NUMBERS)
        for (int part = 0; part < parts; part++)
            for (size_t pair = 0; pair < TILE; pair++, x += 64) {
                const __m512i words = _mm512_loadu_si512(x);
                const __m512 first = _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
                const __m512 second = _mm512_castsi512_ps(upper_bits(_mm512_castsi512_ps(words)));
                sums = _mm512_fmadd_ps(_mm512_set1_ps(values[start + pair]), first, sums);
                sums = _mm512_fmadd_ps(_mm512_set1_ps(values[start + TILE + pair]), second, sums);
            }
    return sums;
}

/* Do again, in float32, the rows that have numbers below 2^-126. */
AMX INLINE void mend_rows(const int parts, const Matrix *matrix, size_t first, size_t rows, size_t length, const uint8_t *x,
                          size_t block_bytes, size_t tokens, float *y, size_t stride, float *values)
{
    for (size_t row = first; matrix->scales && row < first + rows; row++, y++) {
        const uint8_t *scales = matrix->scales + row * matrix->row_scales;
        if (all_plain(scales, matrix->row_scales))
            continue;
        matrix->format->unpack(matrix->codes + row * matrix->row_bytes, scales, values, matrix->length);
        for (size_t block = 0; block * TILE < tokens; block++) {
            float sums[TILE];
            _mm512_storeu_ps(sums, multiply_row(parts, values, length, x + block * block_bytes));
            for (size_t token = block * TILE; token < tokens && token < (block + 1) * TILE; token++)
                y[token * stride] = sums[token % TILE];
        }
    }
}

AMX INLINE void multiply(const int parts, const Matrix *matrix, size_t first, size_t rows, const uint8_t *x,
                         size_t tokens, float *y, size_t stride, uint16_t *panel)
{
    const size_t length = arranged_length(matrix->format, matrix->length);
    const size_t block_bytes =
        BLOCK_TOKENS * (parts == 3 ? token_bytes_amx_float32(length) : token_bytes_amx_bfloat16(length));
    const uint8_t *pairs = pairs_of_rows(matrix, first, rows, length, tokens, panel);
    float sums[4 * TILE * TILE];
    _tile_loadconfig(&ALL_TILES_WHOLE);
    for (size_t token = 0; token < tokens; token += 2 * TILE)
        for (size_t row = 0; row < rows; row += 2 * TILE) {
            const uint8_t *blocks = x + token / TILE * block_bytes;
            if (tokens - token > TILE)
                multiply_tiles(parts, 2, pairs + row * length * sizeof(uint16_t), length, blocks, block_bytes, sums);
            else
                multiply_tiles(parts, 1, pairs + row * length * sizeof(uint16_t), length, blocks, 0, sums);
            for (size_t tile = 0; tile < 4; tile++) {
                const size_t r = row + tile % 2 * TILE, t = token + tile / 2 * TILE;
                if (r < rows && t < tokens)
                    store_sums(sums + tile * TILE * TILE, rows - r, tokens - t, y + t * stride + r, stride);
            }
        }
    _tile_release();
    mend_rows(parts, matrix, first, rows, length, x, block_bytes, tokens, y, stride,
              (float *)(panel + TASK_ROWS * length));
}

AMX void multiply_amx_float32(const Simd *simd, const Matrix *matrix, size_t first, size_t rows, const void *x,
                              size_t tokens, float *y, size_t stride, void *panel)
{
    (void)simd;
    multiply(3, matrix, first, rows, x, tokens, y, stride, panel);
}

AMX void multiply_amx_bfloat16(const Simd *simd, const Matrix *matrix, size_t first, size_t rows, const void *x,
                               size_t tokens, float *y, size_t stride, void *panel)
{
    (void)simd;
    multiply(1, matrix, first, rows, x, tokens, y, stride, panel);
}

/* Four sums, as in `multiply_tiles`, but of tiles that stay where they are. */
AMX INLINE double spin(const int parts, size_t rounds)
{
    _tile_loadconfig(&ALL_TILES_WHOLE);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (size_t round = 0; round < rounds; round++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
        _tile_dpbf16ps(2, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return 2.0 * 4 * TILE * TILE * TILE_NUMBERS * (double)rounds / parts;
}

AMX double spin_amx_float32(size_t rounds) { return spin(3, rounds); }

AMX double spin_amx_bfloat16(size_t rounds) { return spin(1, rounds); }

#endif
