/* Plain C, for any processor; the definition that the other levels are held to. */

#include "simd.h"

#include <string.h>

enum { BLOCK = 32, BYTES_PER_BLOCK = 16 };

static void unpack_mxfp4(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    for (size_t byte = 0; byte < n / 2; byte++) {
        const float scale = SCALES[scales[byte / BYTES_PER_BLOCK]];
        values[2 * byte] = MXFP4_CODES[codes[byte] & 15] * scale;
        values[2 * byte + 1] = MXFP4_CODES[codes[byte] >> 4] * scale;
    }
}

static void dot_mxfp4(const uint8_t *codes, const uint8_t *scales, const float *x, size_t stride, size_t tokens,
                      size_t n, float *y)
{
    for (size_t t = 0; t < tokens; t++) {
        const float *token = x + t * stride;
        y[t] = 0.0f;
        for (size_t start = 0; start < n; start += BLOCK) {
            const uint8_t *block = codes + start / 2;
            float sum = 0.0f;
            for (size_t byte = 0; byte < BYTES_PER_BLOCK; byte++) {
                sum += MXFP4_CODES[block[byte] & 15] * token[start + 2 * byte];
                sum += MXFP4_CODES[block[byte] >> 4] * token[start + 2 * byte + 1];
            }
            y[t] += sum * SCALES[scales[start / BLOCK]];
        }
    }
}

static void unpack_mxint8(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(int8_t)codes[i] * SCALES[scales[i / BLOCK]];
}

static void dot_mxint8(const uint8_t *codes, const uint8_t *scales, const float *x, size_t stride, size_t tokens,
                       size_t n, float *y)
{
    for (size_t t = 0; t < tokens; t++) {
        const float *token = x + t * stride;
        y[t] = 0.0f;
        for (size_t start = 0; start < n; start += BLOCK) {
            float sum = 0.0f;
            for (size_t i = start; i < start + BLOCK; i++)
                sum += (float)(int8_t)codes[i] * token[i];
            y[t] += sum * SCALES[scales[start / BLOCK]];
        }
    }
}

static float bfloat16(const uint8_t *codes, size_t index)
{
    uint16_t bits;
    memcpy(&bits, codes + 2 * index, sizeof bits);
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static void unpack_bfloat16(const uint8_t *codes, const uint8_t *scales, float *values, size_t n)
{
    (void)scales;
    for (size_t i = 0; i < n; i++)
        values[i] = bfloat16(codes, i);
    for (size_t i = n; i % BLOCK; i++)
        values[i] = 0.0f;
}

/* Several sums side by side: rounding does not pile up in one, and compilers make vectors of them. */
enum { SUMS = 8 };

static float total(const float sums[SUMS])
{
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

static void dot_bfloat16(const uint8_t *codes, const uint8_t *scales, const float *x, size_t stride, size_t tokens,
                         size_t n, float *y)
{
    (void)scales;
    for (size_t t = 0; t < tokens; t++) {
        const float *token = x + t * stride;
        float sums[SUMS] = {0};
        size_t i = 0;
        for (; i + SUMS <= n; i += SUMS)
            for (size_t lane = 0; lane < SUMS; lane++)
                sums[lane] += bfloat16(codes, i + lane) * token[i + lane];
        for (; i < n; i++)
            sums[0] += bfloat16(codes, i) * token[i];
        y[t] = total(sums);
    }
}

static void tile(const float *rows, size_t row_stride, const float *x, size_t stride, size_t length, size_t tokens,
                 float *y)
{
    for (size_t t = 0; t < tokens; t++) {
        const float *token = x + t * stride;
        float sums[TILE_ROWS][SUMS] = {{0}};
        for (size_t i = 0; i < length; i += SUMS)
            for (size_t r = 0; r < TILE_ROWS; r++)
                for (size_t lane = 0; lane < SUMS; lane++)
                    sums[r][lane] += rows[r * row_stride + i + lane] * token[i + lane];
        for (size_t r = 0; r < TILE_ROWS; r++)
            y[t * TILE_ROWS + r] += total(sums[r]);
    }
}

static void mix(const float *shares, size_t share_stride, const float *rows, size_t stride, size_t count,
                size_t length, float *y, size_t y_stride, const char *ahead)
{
    (void)ahead;
    for (size_t s = 0; s < count; s++)
        for (size_t r = 0; r < TILE_ROWS; r++)
            for (size_t i = 0; i < length; i++)
                y[r * y_stride + i] += shares[r * share_stride + s] * rows[s * stride + i];
}

static void transpose(const float *rows, size_t stride, size_t count, size_t length, float *columns)
{
    for (size_t s = 0; s < (count + 15) / 16 * 16; s++)
        for (size_t i = 0; i < length; i++)
            columns[i * CHUNK + s] = rows[(s < count ? s : count - 1) * stride + i];
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
    enum { CHAINS = 48 };
    volatile float given = 0.5f, kept;
    const float half = given;
    float sums[CHAINS] = {0};
    for (size_t round = 0; round < rounds; round++)
        for (size_t lane = 0; lane < CHAINS; lane++)
            sums[lane] = sums[lane] * half + half;
    for (size_t lane = 0; lane < CHAINS; lane++)
        kept = sums[lane];
    (void)kept;
    return 2.0 * CHAINS * (double)rounds;
}

#define SCALAR_PRODUCT FLOAT32_PRODUCT("float32 in plain C", spin)

const Simd SIMD_SCALAR = {
    .name = "scalar",
    .mxfp4 = {BLOCK, IN_ORDER, dot_mxfp4, unpack_mxfp4, NULL, NULL, 0, NULL},
    .mxint8 = {BLOCK, IN_ORDER, dot_mxint8, unpack_mxint8, NULL, NULL, 0, NULL},
    .bfloat16 = {BLOCK, IN_ORDER, dot_bfloat16, unpack_bfloat16, NULL, NULL, 0, NULL},
    .products = {SCALAR_PRODUCT, SCALAR_PRODUCT, SCALAR_PRODUCT},
    .tile_tokens = 16,
    .tile = tile,
    .mix = mix,
    .transpose = transpose,
    .soften = soften,
    .swiglu = swiglu,
};
