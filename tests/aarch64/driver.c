/* Runs the float32 kernels of every level that the processor has on `vectors.bin`, and compares: one line a case, with
 * the largest error in units of what is allowed. record.py says how the file is laid out and what is allowed.
 */

#include "simd.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ACTIVATIONS, PRODUCT, SWIGLU, ATTENTION, NORMALISE, TURN, SOFTEN };

typedef struct {
    uint32_t kind, sizes[7];
} Head;

/* What is left of the file, and the latest activations. */
typedef struct {
    const uint8_t *at, *end;
    const float *x;
    size_t x_stride;
} Reader;

static const void *take(Reader *reader, size_t bytes)
{
    const void *array = reader->at;
    const size_t padded = (bytes + 7) / 8 * 8;
    if (padded > (size_t)(reader->end - reader->at)) {
        fprintf(stderr, "the file of vectors ends too early\n");
        exit(2);
    }
    reader->at += padded;
    return array;
}

static const float *take_floats(Reader *reader, size_t count) { return take(reader, count * sizeof(float)); }

static void *allocate(size_t bytes)
{
    void *room = aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
    if (!room)
        abort();
    return room;
}

/* The largest of some errors, each over what is allowed; infinite where one number alone is NaN. */
static double largest_error(const float *y, const float *expected, const float *allowed, size_t count, double more)
{
    double largest = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double error = fabs((double)y[i] - expected[i]);
        if (isnan(expected[i]) != isnan(y[i]))
            return INFINITY;
        if (!isnan(expected[i]) && error > 0.0)
            largest = fmax(largest, error / (allowed[i] + more));
    }
    return largest;
}

static double compare(Reader *reader, const float *y, size_t count)
{
    const float *expected = take_floats(reader, count), *allowed = take_floats(reader, count);
    return largest_error(y, expected, allowed, count, 0.0);
}

static void multiply(const Simd *simd, const Matrix *matrix, const Reader *reader, size_t tokens, float *y)
{
    const size_t a_token = token_bytes(simd, FLOAT32, matrix->format, matrix->length);
    const size_t task = tokens > DOT_TOKENS ? TASK_ROWS : FEW_ROWS;
    uint8_t *x = allocate((tokens + BLOCK_TOKENS) * a_token);
    void *panel = allocate(panel_bytes(simd, FLOAT32, matrix->format, matrix->length));
    for (size_t first = 0; first < tokens; first += BLOCK_TOKENS) {
        const float *rows[BLOCK_TOKENS];
        const size_t some = tokens - first < BLOCK_TOKENS ? tokens - first : BLOCK_TOKENS;
        for (size_t token = 0; token < some; token++)
            rows[token] = reader->x + (first + token) * reader->x_stride;
        lay_out_block(simd, FLOAT32, matrix->format, rows, some, tokens, matrix->length, x + first * a_token, panel);
    }
    for (size_t first = 0; first < matrix->rows; first += task) {
        const size_t some = matrix->rows - first < task ? matrix->rows - first : task;
        multiply_rows(simd, FLOAT32, matrix, first, some, x, tokens, y, matrix->rows, panel);
    }
    free(x);
    free(panel);
}

/* Tiles of bfloat16 take weights below 2^-126 as zero. */
static double flushed(const Simd *simd, const float *x, size_t length, size_t tokens)
{
    double sizes = 0.0;
    if (tokens <= DOT_TOKENS || simd->products[FLOAT32].multiply == multiply_float32)
        return 0.0;
    for (size_t i = 0; i < length; i++)
        sizes += fabs(x[i]);
    return ldexp(sizes, -126);
}

/* The largest error with the first 1, 2, ... of the tokens. */
static double try_tokens(const Simd *simd, const Matrix *matrix, Reader *reader, size_t tokens)
{
    static const size_t COUNTS[] = {1, 2, 3, 4, 5, 7, 17, 33};
    const size_t rows = matrix->rows;
    const float *expected = take_floats(reader, rows * tokens), *allowed = take_floats(reader, rows * tokens);
    float *y = allocate(rows * tokens * sizeof *y);
    double largest = 0.0;
    for (size_t index = 0; index < sizeof COUNTS / sizeof *COUNTS && COUNTS[index] <= tokens; index++) {
        multiply(simd, matrix, reader, COUNTS[index], y);
        for (size_t t = 0; t < COUNTS[index]; t++) {
            const double more = flushed(simd, reader->x + t * reader->x_stride, matrix->length, COUNTS[index]);
            largest = fmax(largest, largest_error(y + t * rows, expected + t * rows, allowed + t * rows, rows, more));
        }
    }
    free(y);
    return largest;
}

static double product(const Simd *simd, const uint32_t *sizes, Reader *reader)
{
    static const char *const NAMES[] = {"mxfp4", "mxint8", "bfloat16"};
    const Format *const formats[] = {&simd->mxfp4, &simd->mxint8, &simd->bfloat16};
    const size_t format = sizes[0], rows = sizes[1], length = sizes[2], tokens = sizes[3], scaled = format < 2;
    const size_t row_bytes = format == 0 ? length / 2 : format == 1 ? length : 2 * length;
    const size_t bytes = rows * row_bytes, row_scales = scaled ? length / 32 : 0;
    /* As in a file of weights, codes start anywhere; and a byte beyond them is not ours. */
    uint8_t *codes = malloc(bytes + 1);
    if (!codes)
        abort();
    memcpy(codes + 1, take(reader, bytes), bytes);
    const uint8_t *scales = scaled ? take(reader, rows * row_scales) : NULL;
    const Matrix matrix = {codes + 1, scales, formats[format], rows, row_bytes, row_scales, length};
    printf("%s, %zu x %zu, up to %zu tokens%s", NAMES[format], rows, length, tokens,
           scaled && rows == 128 ? scales[0] ? ", scales from 128" : ", scales from 0" : "");
    const double error = try_tokens(simd, &matrix, reader, tokens);
    free(codes);
    return error;
}

static double swiglu(const Simd *simd, const uint32_t *sizes, Reader *reader)
{
    const float *gate_up = take_floats(reader, 2 * sizes[0]), *settings = take_floats(reader, 2);
    float *y = allocate(sizes[0] * sizeof *y);
    printf("swiglu, %u numbers", (unsigned)sizes[0]);
    simd->swiglu(gate_up, y, sizes[0], settings[0], settings[1]);
    const double error = compare(reader, y, sizes[0]);
    free(y);
    return error;
}

static double attention(const Simd *simd, const uint32_t *sizes, Reader *reader)
{
    const size_t keys = sizes[1], tokens = sizes[2], group = sizes[3], head_size = sizes[4], window = sizes[5];
    const size_t count = tokens * group * head_size, bytes = keys * head_size * (sizes[0] ? 4 : 2);
    const float *query = take_floats(reader, count);
    const Heads key = {take(reader, bytes), (int)sizes[0], head_size, 0};
    const Heads value = {take(reader, bytes), (int)sizes[0], head_size, 0};
    const float *sinks = take_floats(reader, group);
    float *y = allocate(count * sizeof *y);
    printf("attention, %zu x %zu queries of %zu, %zu keys in %s, window of %zu", tokens, group, head_size, keys,
           key.wide ? "float32" : "bfloat16", window ? window : keys);
    attend_head(simd, query, key, value, sinks, tokens, group, head_size, keys - tokens, window ? window : keys, y,
                group * head_size);
    const double error = compare(reader, y, count);
    free(y);
    return error;
}

static double normalised(const uint32_t *sizes, Reader *reader)
{
    const float *x = take_floats(reader, sizes[0]), *gain = take_floats(reader, sizes[0]);
    const float *eps = take_floats(reader, 1);
    float *y = allocate(sizes[0] * sizeof *y);
    printf("normalise, %u numbers", (unsigned)sizes[0]);
    normalise(x, gain, sizes[0], *eps, y);
    const double error = compare(reader, y, sizes[0]);
    free(y);
    return error;
}

static double turned(const uint32_t *sizes, Reader *reader)
{
    const size_t heads = sizes[0], head_size = sizes[1];
    const float *x = take_floats(reader, heads * head_size), *cosine = take_floats(reader, head_size / 2);
    const float *sine = take_floats(reader, head_size / 2);
    float *y = allocate(heads * head_size * sizeof *y);
    printf("turn, %zu heads of %zu", heads, head_size);
    turn_heads(x, cosine, sine, heads, head_size, y);
    const double error = compare(reader, y, heads * head_size);
    free(y);
    return error;
}

static double softened(const Simd *simd, const uint32_t *sizes, Reader *reader)
{
    const size_t count = sizes[0];
    const float *scores = take_floats(reader, count), *before = take_floats(reader, 2);
    float *y = allocate((count + 3) * sizeof *y);
    printf("soften, %zu scores", count);
    memcpy(y, scores, count * sizeof *y);
    memcpy(y + count, before, 2 * sizeof *y);
    y[count + 2] = simd->soften(y, count, y + count, y + count + 1);
    const double error = compare(reader, y, count + 3);
    free(y);
    return error;
}

static double run_case(const Simd *simd, const Head *head, Reader *reader)
{
    switch (head->kind) {
    case PRODUCT: return product(simd, head->sizes, reader);
    case SWIGLU: return swiglu(simd, head->sizes, reader);
    case ATTENTION: return attention(simd, head->sizes, reader);
    case NORMALISE: return normalised(head->sizes, reader);
    case TURN: return turned(head->sizes, reader);
    case SOFTEN: return softened(simd, head->sizes, reader);
    default: fprintf(stderr, "no kind of record is %u\n", (unsigned)head->kind); exit(2);
    }
}

/* Returns how many cases exceed what is allowed. */
static int run_level(const Simd *simd, Reader reader)
{
    int exceeded = 0;
    while (reader.at < reader.end) {
        const Head *head = take(&reader, sizeof *head);
        if (head->kind == ACTIVATIONS) {
            reader.x_stride = head->sizes[1];
            reader.x = take_floats(&reader, head->sizes[0] * head->sizes[1]);
            continue;
        }
        printf("%s: ", simd->name);
        const double error = run_case(simd, head, &reader);
        printf(": %.4f%s\n", error, error <= 1.0 ? "" : " EXCEEDED");
        exceeded += !(error <= 1.0);
    }
    return exceeded;
}

int main(int count, char **arguments)
{
    FILE *file = count == 2 ? fopen(arguments[1], "rb") : NULL;
    if (!file || fseek(file, 0, SEEK_END)) {
        fprintf(stderr, "usage: %s vectors.bin\n", arguments[0]);
        return 2;
    }
    const size_t size = (size_t)ftell(file);
    uint8_t *bytes = allocate(size);
    rewind(file);
    if (fread(bytes, 1, size, file) != size)
        return 2;
    fclose(file);
    const Simd *levels[8];
    const size_t level_count = simd_levels(levels);
    int exceeded = 0;
    for (size_t level = 0; level < level_count; level++)
        exceeded += run_level(levels[level], (Reader){bytes, bytes + size, NULL, 0});
    printf("%d cases exceed what is allowed\n", exceeded);
    free(bytes);
    return exceeded != 0;
}
