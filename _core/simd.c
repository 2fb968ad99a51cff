#include "simd.h"

#include <math.h>

#if MINIOSS_X86
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Tokens whose activations stay in the cache while a panel is multiplied, and numbers of a row that a tile takes at a
 * time: four rows and six tokens of them stay in the nearest cache. */
enum { PANEL_TOKENS = 48, TILE_LENGTH = 960 };

const uint8_t IN_ORDER[32] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
    16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
};

const float MXFP4_CODES[16] = {
    0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f,
};

float SCALES[256];

#if MINIOSS_X86
/* Whether the processor has tiles of bfloat16, and Linux lets this process use their registers. */
static int has_amx(void)
{
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { LEAF = 7, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned eax, ebx, ecx, edx = 0;
    if (!__get_cpuid_count(LEAF, 0, &eax, &ebx, &ecx, &edx) || !(edx & AMX_BF16) || !(edx & AMX_TILE))
        return 0;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return 0;
#endif
}
#endif

size_t simd_levels(const Simd *levels[8])
{
    size_t count = 0;
    for (int byte = 0; byte < 255; byte++)
        SCALES[byte] = ldexpf(1.0f, byte - 127);
    SCALES[255] = NAN;
    levels[count++] = &SIMD_SCALAR;
#if MINIOSS_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        levels[count++] = &SIMD_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
        levels[count++] = &SIMD_AVX512;
        if (__builtin_cpu_supports("avx512vnni"))
            levels[count++] = &SIMD_AVX512_VNNI;
        if (has_amx())
            levels[count++] = &SIMD_AMX;
    }
#endif
#if MINIOSS_NEON
    levels[count++] = &SIMD_NEON;
#endif
    return count;
}

size_t arranged_length(const Format *format, size_t n)
{
    return (n + format->group - 1) / format->group * format->group;
}

/* Formats that have no integers are multiplied in float32, by x as it was rounded. */
static const Product *product_of(const Simd *simd, Precision precision, const Format *format)
{
    return &simd->products[precision == INT8 && !format->unpack_integers ? FLOAT32 : precision];
}

size_t token_bytes(const Simd *simd, Precision precision, const Format *format, size_t n)
{
    return product_of(simd, precision, format)->token_bytes(arranged_length(format, n));
}

size_t panel_bytes(const Simd *simd, Precision precision, const Format *format, size_t n)
{
    /* Room for the panel, or for a block of arranged rows and one more when x is laid out. */
    const size_t length = arranged_length(format, n), laying_out = (BLOCK_TOKENS + 1) * length * sizeof(float);
    const size_t panel = product_of(simd, precision, format)->panel_bytes(length);
    return panel > laying_out ? panel : laying_out;
}

/* To the nearest bfloat16, ties to even; NaN stays NaN, in its upper half too. */
static void round_bfloat16(const float *x, float *rounded, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        const uint32_t nearest = (bits + 0x7FFFu + (bits >> 16 & 1)) & 0xFFFF0000u;
        bits = (bits & 0x7FFFFFFFu) > 0x7F800000u ? bits | 0x00400000u : nearest;
        memcpy(rounded + i, &bits, sizeof bits);
    }
}

/* To the nearest multiple of 1/127 of the largest in each block of 32; blocks of next to nothing become zero. */
static void round_int8(const float *x, float *rounded, size_t n)
{
    enum { BLOCK = 32 };
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t end = n - start < BLOCK ? n : start + BLOCK;
        float largest = 0.0f;
        for (size_t i = start; i < end; i++)
            largest = fabsf(x[i]) > largest || x[i] != x[i] ? fabsf(x[i]) : largest;
        const float step = largest / 127.0f, steps_in_one = largest < 1e-30f ? 0.0f : 127.0f / largest;
        for (size_t i = start; i < end; i++)
            rounded[i] = ((x[i] * steps_in_one + magic) - magic) * step;
    }
}

void quantize_row(const float *x, size_t n, int8_t *integers, uint8_t *scales)
{
    enum { BLOCK = 32, NAN_SCALE = 255 };
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    for (size_t start = 0; start < n; start += BLOCK) {
        uint32_t largest = 0; /* sizes of floats are ordered as their bits are */
        for (size_t i = start; i < start + BLOCK; i++) {
            uint32_t bits;
            memcpy(&bits, x + i, sizeof bits);
            bits &= 0x7FFFFFFFu;
            largest = bits > largest ? bits : largest;
        }
        /* The largest number is at least 2^(exponent - 127): in steps of 2^(exponent - 133) that is 64. */
        const uint32_t exponent = largest >> 23, scale = exponent > 6 ? exponent - 6 : 0;
        scales[start / BLOCK] = exponent == NAN_SCALE ? NAN_SCALE : (uint8_t)scale;
        const float steps_in_one = ldexpf(1.0f, 127 - (int)scale);
        for (size_t i = start; i < start + BLOCK; i++) {
            float steps = exponent == NAN_SCALE ? 0.0f : (x[i] * steps_in_one + magic) - magic;
            steps = steps > 127.0f ? 127.0f : steps < -127.0f ? -127.0f : steps;
            integers[i] = (int8_t)steps;
        }
    }
}

static void arrange_row(const Format *format, const float *x, float *arranged, size_t n)
{
    const size_t group = format->group, whole = n / group * group;
    for (size_t start = 0; start < whole; start += group)
        for (size_t place = 0; place < group; place++)
            arranged[start + place] = x[start + format->order[place]];
    for (size_t place = 0; whole < n && place < group; place++) {
        const size_t source = whole + format->order[place];
        arranged[whole + place] = source < n ? x[source] : 0.0f;
    }
}

void lay_out_block(const Simd *simd, Precision precision, const Format *format, const float *const *x, size_t tokens,
                   size_t together, size_t n, void *laid_out, void *panel)
{
    const size_t length = arranged_length(format, n);
    float *rows = together > DOT_TOKENS ? panel : laid_out, *rounded = (float *)panel + BLOCK_TOKENS * length;
    for (size_t token = 0; token < tokens; token++) {
        if (precision == BFLOAT16)
            round_bfloat16(x[token], rounded, n);
        else if (precision == INT8)
            round_int8(x[token], rounded, n);
        arrange_row(format, precision == FLOAT32 ? x[token] : rounded, rows + token * length, n);
    }
    if (together > DOT_TOKENS)
        product_of(simd, precision, format)->lay_out(format, rows, length, tokens, laid_out);
}

static void dot_row(const Matrix *matrix, size_t row, const void *x, size_t tokens, float *y, size_t stride)
{
    const Format *format = matrix->format;
    const uint8_t *scales = matrix->scales ? matrix->scales + row * matrix->row_scales : NULL;
    float products[DOT_TOKENS];
    format->dot(matrix->codes + row * matrix->row_bytes, scales, x, arranged_length(format, matrix->length), tokens,
                matrix->length, products);
    for (size_t token = 0; token < tokens; token++)
        y[token * stride + row] = products[token];
}

/* The share of all rows that `rows` from `first` on, a multiple of DOT_ROWS, stand for: neighbours of each quarter of the
 * matrix. Memory gives four streams faster than one, and a task goes on where the one before it stopped. */
static void dot_quarters(const Matrix *matrix, size_t first, size_t rows, const void *x, size_t tokens, float *y,
                         size_t stride)
{
    const Format *format = matrix->format;
    const size_t quarter = matrix->rows / DOT_ROWS;
    for (size_t row = first / DOT_ROWS; row < (first + rows) / DOT_ROWS; row++) {
        const uint8_t *scales = matrix->scales ? matrix->scales + row * matrix->row_scales : NULL;
        float products[DOT_ROWS * DOT_TOKENS];
        format->dot_together(matrix->codes + row * matrix->row_bytes, quarter * matrix->row_bytes, scales,
                             quarter * matrix->row_scales, x, arranged_length(format, matrix->length), tokens,
                             matrix->length, products);
        for (size_t part = 0; part < DOT_ROWS; part++)
            for (size_t token = 0; token < tokens; token++)
                y[token * stride + part * quarter + row] = products[part * tokens + token];
    }
    for (size_t row = (first + rows) / DOT_ROWS * DOT_ROWS; row < first + rows; row++)
        dot_row(matrix, row, x, tokens, y, stride);
}

void multiply_rows(const Simd *simd, Precision precision, const Matrix *matrix, size_t first, size_t rows,
                   const void *x, size_t tokens, float *y, size_t stride, void *panel)
{
    if (tokens > DOT_TOKENS)
        product_of(simd, precision, matrix->format)
            ->multiply(simd, matrix, first, rows, x, tokens, y + first, stride, panel);
    else if (matrix->format->dot_together)
        dot_quarters(matrix, first, rows, x, tokens, y, stride);
    else
        for (size_t row = first; row < first + rows; row++)
            dot_row(matrix, row, x, tokens, y, stride);
}

static void unpack_rows(const Matrix *matrix, size_t first, size_t rows, float *values)
{
    const size_t length = arranged_length(matrix->format, matrix->length);
    for (size_t row = 0; row < rows; row++) {
        const uint8_t *scales = matrix->scales ? matrix->scales + (first + row) * matrix->row_scales : NULL;
        matrix->format->unpack(matrix->codes + (first + row) * matrix->row_bytes, scales, values + row * length,
                               matrix->length);
    }
}

enum { PANEL_ROWS = 32 };

size_t token_bytes_float32(size_t length) { return length * sizeof(float); }

size_t panel_bytes_float32(size_t length) { return PANEL_ROWS * length * sizeof(float); }

void lay_out_float32(const Format *format, const float *rows, size_t length, size_t tokens, void *x)
{
    (void)format;
    memcpy(x, rows, tokens * length * sizeof(float));
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
                simd->tile(panel + row * length + start, length, x + token * length + start, length, part, count,
                           sums[row / TILE_ROWS] + token * TILE_ROWS);
        }
    }
    for (size_t token = 0; token < tokens; token++)
        for (size_t row = 0; row < rows; row++)
            y[token * stride + row] = sums[row / TILE_ROWS][token * TILE_ROWS + row % TILE_ROWS];
}

void multiply_float32(const Simd *simd, const Matrix *matrix, size_t first, size_t rows, const void *x, size_t tokens,
                      float *y, size_t stride, void *panel)
{
    const size_t length = arranged_length(matrix->format, matrix->length);
    float *values = panel;
    for (size_t start = 0; start < rows; start += PANEL_ROWS) {
        const size_t part = rows - start < PANEL_ROWS ? rows - start : PANEL_ROWS;
        unpack_rows(matrix, first + start, part, values);
        for (size_t row = part; row % TILE_ROWS; row++)
            memset(values + row * length, 0, length * sizeof(float));
        for (size_t token = 0; token < tokens; token += PANEL_TOKENS) {
            const size_t count = tokens - token < PANEL_TOKENS ? tokens - token : PANEL_TOKENS;
            tile_panel(simd, values, part, (const float *)x + token * length, length, count,
                       y + token * stride + start, stride);
        }
    }
}

static float number(const Bias *bias, size_t index)
{
    /* In a file numbers may start at any byte. */
    const char *numbers = bias->numbers;
    uint16_t upper;
    float value;
    if (bias->wide) {
        memcpy(&value, numbers + index * sizeof value, sizeof value);
        return value;
    }
    memcpy(&upper, numbers + index * sizeof upper, sizeof upper);
    const uint32_t bits = (uint32_t)upper << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void add_bias(float *y, const Bias *bias, size_t row)
{
    for (size_t i = 0; i < bias->length; i++)
        y[i] += number(bias, row * bias->length + i);
}

void add_weighted(float *y, const float *x, const Bias *bias, size_t row, float share)
{
    for (size_t i = 0; i < bias->length; i++)
        y[i] += share * (x[i] + number(bias, row * bias->length + i));
}

void normalise(const float *x, const float *gain, size_t n, float eps, float *y)
{
    enum { SUMS = 16 };
    float sums[SUMS] = {0}, total = 0.0f;
    size_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (size_t lane = 0; lane < SUMS; lane++)
            sums[lane] += x[i + lane] * x[i + lane];
    for (; i < n; i++)
        total += x[i] * x[i];
    for (size_t lane = 0; lane < SUMS; lane++)
        total += sums[lane];
    const float scale = 1.0f / sqrtf(total / (float)n + eps);
    for (i = 0; i < n; i++)
        y[i] = x[i] * scale * gain[i];
}

void turn_heads(const float *x, const float *cosine, const float *sine, size_t heads, size_t head_size, float *y)
{
    const size_t half = head_size / 2;
    for (size_t head = 0; head < heads; head++, x += head_size, y += head_size)
        for (size_t i = 0; i < half; i++) {
            const float first = x[i], second = x[half + i];
            y[i] = first * cosine[i] - second * sine[i];
            y[half + i] = second * cosine[i] + first * sine[i];
        }
}
