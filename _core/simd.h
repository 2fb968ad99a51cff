/* What one instruction set offers, and what all of them share: one `Simd` a level.
 *
 * A packed row is read in place. Its numbers come out of the registers in an order that suits the
 * instructions, so x is put in that order first (`arrange_row`): the sum is the same.
 *
 * A *format* says how weights are packed. A *product* says how several tokens are laid out and multiplied
 * by unpacked rows. Any product takes any format, because every format unpacks to float32.
 */
#ifndef MINIOSS_SIMD_H
#define MINIOSS_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define MINIOSS_X86 1
#define TARGET(features) __attribute__((target(features)))
#else
#define MINIOSS_X86 0
#endif

#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define MINIOSS_NEON 1
#else
#define MINIOSS_NEON 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

enum {
    /* Bytes of a cache line: activations and panels start on one. */
    CACHE_LINE = 64,
    /* How far ahead of their use codes are asked for, and scales, in bytes. */
    PREFETCH = 2560,
    PREFETCH_SCALES = 320,
    /* Up to so many tokens, a packed row is multiplied as it is read; more are worth unpacking it first. */
    DOT_TOKENS = 4,
    /* Rows that `tile` takes at once. */
    TILE_ROWS = 4,
    /* Rows that `dot_together` takes at once. */
    DOT_ROWS = 4,
    /* Rows that a thread takes at a time: with many tokens, and with few. */
    TASK_ROWS = 128,
    FEW_ROWS = 32,
    /* Keys that attention takes at a time; they stay in the nearest cache for all queries. */
    CHUNK = 64,
    /* Tokens that are laid out together: every expert's tokens start at a multiple of it, and have room for as many. As
     * float32 rows a few of them take no more, whatever the product. */
    BLOCK_TOKENS = 16,
};

/* One weight format at one level. */
typedef struct {
    /* Numbers in a group, and which number of the group stands at each place. */
    size_t group;
    const uint8_t *order;
    /* y[t] = packed row of n numbers . x[t * stride ...], for up to DOT_TOKENS arranged tokens, zero beyond n. */
    void (*dot)(const uint8_t *codes, const uint8_t *scales, const float *x, size_t stride, size_t tokens, size_t n,
                float *y);
    /* The numbers of a packed row, arranged, with zeros up to a whole group. */
    void (*unpack)(const uint8_t *codes, const uint8_t *scales, float *values, size_t n);
    /* The same as pairs of bfloat16, for AMX alone; NULL where `unpack` and a conversion do. */
    void (*unpack_pairs)(const uint8_t *codes, const uint8_t *scales, uint16_t *pairs, size_t n);
    /* As unsigned integers with scales, for VNNI alone, and what is added to make them unsigned; NULL where the format has
     * no integers. */
    void (*unpack_integers)(const uint8_t *codes, const uint8_t *scales, void *row, size_t n);
    int32_t offset;
    /* As `dot` for DOT_ROWS rows and up to DOT_TOKENS tokens, so many bytes of codes and scales from one row to the
     * next: y[r * tokens + t]. NULL where one row after the other is as fast. */
    void (*dot_together)(const uint8_t *codes, size_t apart, const uint8_t *scales, size_t scales_apart, const float *x,
                         size_t stride, size_t tokens, size_t n, float *y);
} Format;

/* Packed rows, one after the other, and how to read them. */
typedef struct {
    const uint8_t *codes;
    const uint8_t *scales; /* NULL where the format has none */
    const Format *format;
    size_t rows;
    size_t row_bytes;
    size_t row_scales;
    size_t length; /* numbers in a row */
} Matrix;

/* Calls function(tokens, ...) with tokens as a constant, so that its sums stay in registers. */
#define WITH_CONSTANT_TOKENS(function, ...)          \
    switch (tokens) {                                \
    case 1: function(1, __VA_ARGS__); break;         \
    case 2: function(2, __VA_ARGS__); break;         \
    case 3: function(3, __VA_ARGS__); break;         \
    case DOT_TOKENS: function(DOT_TOKENS, __VA_ARGS__); break; \
    default: break;                                  \
    }

struct Simd;

/* How more than DOT_TOKENS tokens are laid out and multiplied by up to TASK_ROWS rows. */
typedef struct {
    /* Bytes that a token takes, at least those of a byte a number, and the unpacked rows together, for rows of this
     * length. */
    size_t (*token_bytes)(size_t length);
    size_t (*panel_bytes)(size_t length);
    /* Lay out up to BLOCK_TOKENS arranged float32 rows of this length. */
    void (*lay_out)(const Format *format, const float *rows, size_t length, size_t tokens, void *x);
    /* y[t * stride + r] = row r . x[t]; `panel` is where rows are unpacked. */
    void (*multiply)(const struct Simd *simd, const Matrix *matrix, size_t first, size_t rows, const void *x,
                     size_t tokens, float *y, size_t stride, void *panel);
    /* What multiplies, in a few words. */
    const char *name;
    /* Keep the instructions that multiply busy, in registers alone; returns how many operations of this product that
     * was: a multiply-add is two. */
    double (*spin)(size_t rounds);
} Product;

/* What x is rounded to before it is multiplied. */
typedef enum { FLOAT32, BFLOAT16, INT8 } Precision;

typedef struct Simd {
    const char *name;
    Format mxfp4, mxint8, bfloat16;
    /* By Precision. */
    Product products[3];
    /* Tokens that `tile` takes at once. */
    size_t tile_tokens;
    /* y[t * TILE_ROWS + r] += rows[r * row_stride ...] . x[t * stride ...] for TILE_ROWS rows and up to tile_tokens
     * tokens, over `length` numbers of each, a multiple of 16. */
    void (*tile)(const float *rows, size_t row_stride, const float *x, size_t stride, size_t length, size_t tokens,
                 float *y);
    /* y[r * y_stride ...] += sum over s of shares[r * share_stride + s] rows[s * stride ...] for TILE_ROWS sums of
     * `count` rows; `length`, a multiple of 16, numbers each. Meanwhile, bytes from `ahead` on are asked for. */
    void (*mix)(const float *shares, size_t share_stride, const float *rows, size_t stride, size_t count, size_t length,
                float *y, size_t y_stride, const char *ahead);
    /* columns[i * CHUNK + s] = rows[s * stride + i] for `count` rows of `length` numbers; up to the next multiple of 16,
     * the last row is repeated. */
    void (*transpose)(const float *rows, size_t stride, size_t count, size_t length, float *columns);
    /* Scores to e^(score - largest), in place, after `largest` was raised to the largest of them; their sum is added to
     * `total`. Returns what earlier sums are to be scaled by, as `total` was; `count` is a multiple of 16. */
    float (*soften)(float *scores, size_t count, float *largest, float *total);
    /* The clamped SwiGLU of one token: 2F interleaved numbers to F. */
    void (*swiglu)(const float *gate_up, float *activation, size_t count, float alpha, float limit);
} Simd;

/* The order of groups of 32 that come out as they lie. */
extern const uint8_t IN_ORDER[32];

extern const float MXFP4_CODES[16];
/* The E8M0 scales of MXFP4 and MXINT8. */
extern float SCALES[256];

extern const Simd SIMD_SCALAR;
#if MINIOSS_X86
extern const Simd SIMD_AVX2;
extern const Simd SIMD_AVX512;
extern const Simd SIMD_AVX512_VNNI;
extern const Simd SIMD_AMX;
#endif
#if MINIOSS_NEON
extern const Simd SIMD_NEON;
#endif

/* The levels that this processor has, slowest first; returns how many. */
size_t simd_levels(const Simd *levels[8]);

/* Length of an arranged row of n numbers: whole groups. */
size_t arranged_length(const Format *format, size_t n);

/* Bytes of one token's place among laid out tokens, and of the panel that a thread needs. */
size_t token_bytes(const Simd *simd, Precision precision, const Format *format, size_t n);
size_t panel_bytes(const Simd *simd, Precision precision, const Format *format, size_t n);

/* Round, arrange and lay out up to BLOCK_TOKENS tokens of n numbers, of `together` that will be multiplied at once.
 * `panel` has room for panel_bytes. */
void lay_out_block(const Simd *simd, Precision precision, const Format *format, const float *const *x, size_t tokens,
                   size_t together, size_t n, void *laid_out, void *panel);

/* y[t * stride + r] = row r . x[t] for `rows` rows, at most TASK_ROWS, and all tokens: those from `first` on, or as many
 * others, where all rows are multiplied by tasks that begin at multiples of DOT_ROWS. */
void multiply_rows(const Simd *simd, Precision precision, const Matrix *matrix, size_t first, size_t rows,
                   const void *x, size_t tokens, float *y, size_t stride, void *panel);

/* The product of float32 instructions: for every level that has none of its own. */
size_t token_bytes_float32(size_t length);
size_t panel_bytes_float32(size_t length);
void lay_out_float32(const Format *format, const float *rows, size_t length, size_t tokens, void *x);
void multiply_float32(const Simd *simd, const Matrix *matrix, size_t first, size_t rows, const void *x, size_t tokens,
                      float *y, size_t stride, void *panel);
#define FLOAT32_PRODUCT(name, spin) \
    {token_bytes_float32, panel_bytes_float32, lay_out_float32, multiply_float32, name, spin}

#if MINIOSS_X86
/* AMX: the products of tiles of bfloat16. */
size_t token_bytes_amx_float32(size_t length);
size_t token_bytes_amx_bfloat16(size_t length);
size_t panel_bytes_amx(size_t length);
void lay_out_amx_float32(const Format *format, const float *rows, size_t length, size_t tokens, void *x);
void lay_out_amx_bfloat16(const Format *format, const float *rows, size_t length, size_t tokens, void *x);
void multiply_amx_float32(const Simd *simd, const Matrix *matrix, size_t first, size_t rows, const void *x,
                          size_t tokens, float *y, size_t stride, void *panel);
void multiply_amx_bfloat16(const Simd *simd, const Matrix *matrix, size_t first, size_t rows, const void *x,
                           size_t tokens, float *y, size_t stride, void *panel);
double spin_amx_float32(size_t rounds);
double spin_amx_bfloat16(size_t rounds);
void unpack_pairs_mxfp4(const uint8_t *codes, const uint8_t *scales, uint16_t *pairs, size_t n);
void unpack_pairs_bfloat16(const uint8_t *codes, const uint8_t *scales, uint16_t *pairs, size_t n);
#define AMX_FLOAT32_PRODUCT {token_bytes_amx_float32, panel_bytes_amx, lay_out_amx_float32, multiply_amx_float32, \
                             "AMX tiles of bfloat16, three a product", spin_amx_float32}
#define AMX_BFLOAT16_PRODUCT {token_bytes_amx_bfloat16, panel_bytes_amx, lay_out_amx_bfloat16, multiply_amx_bfloat16, \
                              "AMX tiles of bfloat16", spin_amx_bfloat16}

/* AVX-512 VNNI: the product of 8-bit integers. */
size_t token_bytes_vnni(size_t length);
size_t panel_bytes_vnni(size_t length);
void lay_out_vnni(const Format *format, const float *rows, size_t length, size_t tokens, void *x);
void multiply_vnni(const Simd *simd, const Matrix *matrix, size_t first, size_t rows, const void *x, size_t tokens,
                   float *y, size_t stride, void *panel);
void unpack_integers_mxfp4(const uint8_t *codes, const uint8_t *scales, void *row, size_t n);
void unpack_integers_mxint8(const uint8_t *codes, const uint8_t *scales, void *row, size_t n);
double spin_vnni(size_t rounds);
#define VNNI_PRODUCT {token_bytes_vnni, panel_bytes_vnni, lay_out_vnni, multiply_vnni, "8-bit integers in AVX-512 VNNI", spin_vnni}
#endif

/* Numbers that are kept as float32 (wide) or as bfloat16: a bias. */
typedef struct {
    const void *numbers;
    int wide;
    size_t length; /* numbers in a row */
} Bias;

/* y += row of a bias, and y += share * (x + row of a bias). */
void add_bias(float *y, const Bias *bias, size_t row);
void add_weighted(float *y, const float *x, const Bias *bias, size_t row, float share);

/* What attention reads: keys or values of one head, float32 (wide) or bfloat16, `stride` numbers from one position to
 * the next, `head_stride` to the same position of the next head. */
typedef struct {
    const void *numbers;
    int wide;
    size_t stride, head_stride;
} Heads;

/* Attention of `tokens` queries of one key/value head, each of `group` rows of `head_size` numbers, over the keys that
 * each may see: those up to its own position, `first_position` for the first token, and less than `window` before it.
 * `query` and `mixed` have `stride` numbers from one token to the next; tokens * group is at most QUERY_ROWS. */
enum { QUERY_ROWS = 32, LARGEST_HEAD = 256 };
void attend_head(const Simd *simd, const float *query, Heads key, Heads value, const float *sinks, size_t tokens,
                 size_t group, size_t head_size, size_t first_position, size_t window, float *mixed, size_t stride);

/* Round n numbers, a multiple of 32, to MXINT8. */
void quantize_row(const float *x, size_t n, int8_t *integers, uint8_t *scales);

/* Normalise a row to unit root mean square and scale it. */
void normalise(const float *x, const float *gain, size_t n, float eps, float *y);

/* Turn the heads of one token: halves, not neighbours. */
void turn_heads(const float *x, const float *cosine, const float *sine, size_t heads, size_t head_size, float *y);

/* Read bytes once, for the time that it takes: the sum of their words of 64 bits. */
uint64_t read_bytes(const uint8_t *bytes, size_t count);

/* e^x within two units in the last place: x = k ln 2 + r, a polynomial for e^r, and k into the exponent.
 * Written without branches or calls, so that compilers make vectors of it. */
INLINE float exponential(float x)
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

/* The difference is 0, or NaN where x is. */
INLINE float exponential_or_nan(float x) { return exponential(x) + (x - x); }

/* The bodies of `soften` and `swiglu`, which each level compiles for its own registers. Sixteen numbers go side by side,
 * in an order that no compiler may change: only then are results the same everywhere. */
INLINE float soften_of(float *scores, size_t count, float *largest, float *total)
{
    enum { SIDES = 16 };
    float high[SIDES], sum[SIDES];
    for (size_t i = 0; i < SIDES; i++) {
        high[i] = *largest;
        sum[i] = 0.0f;
    }
    for (size_t s = 0; s < count; s += SIDES)
#pragma omp simd
        for (size_t i = 0; i < SIDES; i++)
            high[i] = scores[s + i] > high[i] ? scores[s + i] : high[i];
    for (size_t half = SIDES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            high[i] = high[i + half] > high[i] ? high[i + half] : high[i];
    for (size_t s = 0; s < count; s += SIDES)
#pragma omp simd
        for (size_t i = 0; i < SIDES; i++) {
            scores[s + i] = exponential_or_nan(scores[s + i] - high[0]);
            sum[i] += scores[s + i];
        }
    for (size_t half = SIDES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            sum[i] += sum[i + half];
    const float scale = exponential_or_nan(*largest - high[0]);
    *largest = high[0];
    *total = *total * scale + sum[0];
    return scale;
}

INLINE void swiglu_of(const float *gate_up, float *activation, size_t count, float alpha, float limit)
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

#endif
