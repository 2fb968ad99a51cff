/* What one instruction set offers: the innermost products, one set of functions a level.
 *
 * A packed row is read in place. Its numbers come out of the registers in an order that suits the
 * instructions, so x is put in that order first (`arrange`): the sum is the same.
 */
#ifndef MINIOSS_SIMD_H
#define MINIOSS_SIMD_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define MINIOSS_X86 1
#define TARGET(features) __attribute__((target(features)))
#define INLINE static inline __attribute__((always_inline))
#else
#define MINIOSS_X86 0
#endif

/* Rows that `tile` takes at once. */
enum { TILE_ROWS = 4 };

/* How far ahead of its use a packed row is asked for, in bytes. */
enum { PREFETCH = 1536 };

/* One weight format at one level. */
typedef struct {
    /* Numbers in a group, and which number of the group stands at each place. */
    size_t group;
    const uint8_t *order;
    /* The product of a packed row of n numbers with an arranged x, which is zero beyond n. */
    float (*dot)(const uint8_t *codes, const uint8_t *scales, const float *x, size_t n);
    /* The numbers of a packed row, arranged, with zeros up to a whole group. */
    void (*unpack)(const uint8_t *codes, const uint8_t *scales, float *values, size_t n);
} Format;

typedef struct {
    const char *name;
    Format mxfp4;
    Format bfloat16;
    /* Tokens that `tile` takes at once. */
    size_t tile_tokens;
    /* y[t * TILE_ROWS + r] += rows[r * stride ...] . x[t * stride ...] for TILE_ROWS rows and up to tile_tokens tokens,
     * over `length` numbers of each, a multiple of 32. */
    void (*tile)(const float *rows, const float *x, size_t stride, size_t length, size_t tokens, float *y);
} Simd;

extern const float MXFP4_CODES[16];
extern float MXFP4_SCALES[256];

extern const Simd SIMD_SCALAR;
#if MINIOSS_X86
extern const Simd SIMD_AVX2;
extern const Simd SIMD_AVX512;
#endif

/* The levels that this processor has, slowest first; returns how many. */
size_t simd_levels(const Simd *levels[8]);

/* Length of an arranged row of n numbers: whole groups. */
size_t arranged_length(const Format *format, size_t n);

/* Put the n numbers of x in the order of a format, with zeros up to a whole group. */
void arrange(const Format *format, const float *x, float *arranged, size_t n);

/* Bytes of a cache line: activations and panels start on one. */
enum { CACHE_LINE = 64 };

/* Rows that a thread takes at a time, and tokens whose activations stay in its cache meanwhile. */
enum { PANEL_ROWS = 32, PANEL_TOKENS = 48 };

/* Numbers of a row that a tile takes at a time: four rows and six tokens of them stay in the nearest cache. */
enum { TILE_LENGTH = 960 };

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

/* y[t * stride + r] = row r . x[t] for up to PANEL_ROWS rows from `first` on, and all tokens.
 * x is arranged; `panel` has room for PANEL_ROWS arranged rows. */
void multiply_panel(const Simd *simd, const Matrix *matrix, size_t first, const float *x, size_t tokens, float *y,
                    size_t stride, float *panel);

/* The clamped SwiGLU of one token: 2F interleaved numbers to F. */
void swiglu(const float *gate_up, float *activation, size_t count, float alpha, float limit);

#endif
