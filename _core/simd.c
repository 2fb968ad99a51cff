#include "simd.h"

#include <math.h>
#include <string.h>

const float MXFP4_CODES[16] = {
    0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f,
};

float MXFP4_SCALES[256];

size_t simd_levels(const Simd *levels[8])
{
    size_t count = 0;
    for (int byte = 0; byte < 255; byte++)
        MXFP4_SCALES[byte] = ldexpf(1.0f, byte - 127);
    MXFP4_SCALES[255] = NAN;
    levels[count++] = &SIMD_SCALAR;
#if MINIOSS_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        levels[count++] = &SIMD_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
        levels[count++] = &SIMD_AVX512;
#endif
    return count;
}

size_t arranged_length(const Format *format, size_t n)
{
    return (n + format->group - 1) / format->group * format->group;
}

void arrange(const Format *format, const float *x, float *arranged, size_t n)
{
    const size_t group = format->group;
    for (size_t start = 0; start < n; start += group)
        for (size_t place = 0; place < group; place++) {
            const size_t source = start + format->order[place];
            arranged[start + place] = source < n ? x[source] : 0.0f;
        }
}

/* y[t * stride + r] = panel[r] . x[t] for at most PANEL_TOKENS tokens, by parts of the rows. */
static void tile_panel(const Simd *simd, const float *panel, size_t rows, const float *x, size_t length,
                       size_t tokens, float *y, size_t stride)
{
    float sums[PANEL_ROWS / TILE_ROWS][PANEL_TOKENS * TILE_ROWS];
    memset(sums, 0, sizeof sums);
    for (size_t start = 0; start < length; start += TILE_LENGTH) {
        const size_t part = length - start < TILE_LENGTH ? length - start : TILE_LENGTH;
        for (size_t token = 0; token < tokens; token += simd->tile_tokens) {
            const size_t count = tokens - token < simd->tile_tokens ? tokens - token : simd->tile_tokens;
            for (size_t row = 0; row < rows; row += TILE_ROWS)
                simd->tile(panel + row * length + start, x + token * length + start, length, part, count,
                           sums[row / TILE_ROWS] + token * TILE_ROWS);
        }
    }
    for (size_t token = 0; token < tokens; token++)
        for (size_t row = 0; row < rows; row++)
            y[token * stride + row] = sums[row / TILE_ROWS][token * TILE_ROWS + row % TILE_ROWS];
}

void multiply_panel(const Simd *simd, const Matrix *matrix, size_t first, const float *x, size_t tokens, float *y,
                    size_t stride, float *panel)
{
    const size_t left = matrix->rows - first, rows = left < PANEL_ROWS ? left : PANEL_ROWS;
    const size_t length = arranged_length(matrix->format, matrix->length);
    for (size_t row = 0; row < rows; row++) {
        const uint8_t *codes = matrix->codes + (first + row) * matrix->row_bytes;
        const uint8_t *scales = matrix->scales ? matrix->scales + (first + row) * matrix->row_scales : NULL;
        if (tokens == 1)
            y[first + row] = matrix->format->dot(codes, scales, x, matrix->length);
        else
            matrix->format->unpack(codes, scales, panel + row * length, matrix->length);
    }
    if (tokens == 1)
        return;
    for (size_t row = rows; row % TILE_ROWS; row++)
        memset(panel + row * length, 0, length * sizeof(float));
    for (size_t token = 0; token < tokens; token += PANEL_TOKENS) {
        const size_t count = tokens - token < PANEL_TOKENS ? tokens - token : PANEL_TOKENS;
        tile_panel(simd, panel, rows, x + token * length, length, count, y + token * stride + first, stride);
    }
}

/* e^x within two units in the last place: x = k ln 2 + r, a polynomial for e^r, and k into the exponent.
 * Written without branches or calls, so that compilers make vectors of it. */
static inline float exponential(float x)
{
    /* NaN fails both comparisons and becomes -87: as an integer it would have no meaning in C. */
    const float clamped = x > -87.0f ? (x < 88.0f ? x : 88.0f) : -87.0f;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const float k = (clamped * 1.44269504f + magic) - magic;
    const float r = (clamped - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const int32_t exponent = ((int32_t)k + 127) << 23;
    float power;
    memcpy(&power, &exponent, sizeof power);
    return p * power;
}

void swiglu(const float *gate_up, float *activation, size_t count, float alpha, float limit)
{
    for (size_t i = 0; i < count; i++) {
        /* Written so that NaN passes through both clamps. */
        float gate = gate_up[2 * i], up = gate_up[2 * i + 1];
        gate = gate > limit ? limit : gate;
        up = up > limit ? limit : up;
        up = up < -limit ? -limit : up;
        activation[i] = gate / (1.0f + exponential(-alpha * gate)) * (up + 1.0f);
    }
}
