/* Attention of one key/value head, key chunk by key chunk: no score is kept longer than its chunk.
 *
 * The softmax is that of the whole row all the same: its largest score and its sum so far are kept, and what was
 * summed is scaled down when a larger score comes. The sink is where both start.
 */

#include "simd.h"

#include <math.h>

/* Keys at a time; they stay in the nearest cache for all queries. */
enum { CHUNK = 64 };

/* The score of a key that a row does not see: e^(this - any other) is next to nothing, and no infinity. */
static const float UNSEEN = -1e30f;

/* Four query rows on their way through the keys. */
typedef struct {
    float queries[TILE_ROWS * LARGEST_HEAD];
    float sums[TILE_ROWS * LARGEST_HEAD]; /* of values, weighted */
    float largest[TILE_ROWS], total[TILE_ROWS];
    size_t first[TILE_ROWS], end[TILE_ROWS]; /* the keys that a row sees */
} Rows;

/* The keys or values from `start` on as float32, copied where they are not. */
static const float *read_chunk(Heads heads, size_t start, size_t count, size_t head_size, float *copy, size_t *stride)
{
    if (heads.wide) {
        *stride = heads.stride;
        return (const float *)heads.numbers + start * heads.stride;
    }
    const uint16_t *bits = (const uint16_t *)heads.numbers + start * heads.stride;
    for (size_t s = 0; s < count; s++)
        for (size_t k = 0; k < head_size; k++) {
            const uint32_t word = (uint32_t)bits[s * heads.stride + k] << 16;
            memcpy(copy + s * head_size + k, &word, sizeof word);
        }
    *stride = head_size;
    return copy;
}

static void hide_unseen(const Rows *rows, float *scores, size_t start, size_t count)
{
    for (size_t r = 0; r < TILE_ROWS; r++) {
        for (size_t s = 0; s < count && start + s < rows->first[r]; s++)
            scores[s * TILE_ROWS + r] = UNSEEN;
        for (size_t s = count; s > 0 && start + s > rows->end[r]; s--)
            scores[(s - 1) * TILE_ROWS + r] = UNSEEN;
    }
}

/* Raise the largest scores so far to those of this chunk, and scale down what was summed. */
static void raise_largest(Rows *rows, const float *scores, size_t count, size_t head_size)
{
    float largest[TILE_ROWS];
    memcpy(largest, rows->largest, sizeof largest);
    for (size_t s = 0; s < count; s++)
        for (size_t r = 0; r < TILE_ROWS; r++)
            largest[r] = scores[s * TILE_ROWS + r] > largest[r] ? scores[s * TILE_ROWS + r] : largest[r];
    for (size_t r = 0; r < TILE_ROWS; r++) {
        if (largest[r] == rows->largest[r])
            continue;
        const float scale = expf(rows->largest[r] - largest[r]);
        rows->total[r] *= scale;
        for (size_t k = 0; k < head_size; k++)
            rows->sums[r * head_size + k] *= scale;
        rows->largest[r] = largest[r];
    }
}

/* Take in the keys and values of one chunk, which begins at position `start`. */
static void take_chunk(const Simd *simd, Rows *rows, const float *keys, size_t key_stride, const float *values,
                       size_t value_stride, size_t start, size_t count, size_t head_size)
{
    float scores[CHUNK * TILE_ROWS] = {0};
    for (size_t s = 0; s < count; s += simd->tile_tokens) {
        const size_t some = count - s < simd->tile_tokens ? count - s : simd->tile_tokens;
        simd->tile(rows->queries, head_size, keys + s * key_stride, key_stride, head_size, some, scores + s * TILE_ROWS);
    }
    hide_unseen(rows, scores, start, count);
    raise_largest(rows, scores, count, head_size);
    simd->exponentials(scores, rows->largest, count);
    for (size_t s = 0; s < count; s++)
        for (size_t r = 0; r < TILE_ROWS; r++)
            rows->total[r] += scores[s * TILE_ROWS + r];
    simd->mix(scores, values, value_stride, count, head_size, rows->sums);
}

/* Row `row` of the task is query `row % group` of token `row / group`; rows beyond the last repeat it. */
static void start_row(Rows *rows, size_t r, size_t row, const float *query, const float *sinks, size_t group,
                      size_t head_size, size_t first_position, size_t window, size_t stride)
{
    const size_t position = first_position + row / group;
    const float *from = query + row / group * stride + row % group * head_size;
    const float scale = 1.0f / sqrtf((float)head_size);
    for (size_t k = 0; k < head_size; k++) {
        rows->queries[r * head_size + k] = from[k] * scale;
        rows->sums[r * head_size + k] = 0.0f;
    }
    rows->largest[r] = sinks[row % group];
    rows->total[r] = 1.0f;
    rows->end[r] = position + 1;
    rows->first[r] = position + 1 > window ? position + 1 - window : 0;
}

void attend_head(const Simd *simd, const float *query, Heads key, Heads value, const float *sinks, size_t tokens,
                 size_t group, size_t head_size, size_t first_position, size_t window, float *mixed, size_t stride)
{
    Rows rows[QUERY_ROWS / TILE_ROWS];
    float key_copy[CHUNK * LARGEST_HEAD], value_copy[CHUNK * LARGEST_HEAD];
    const size_t count = tokens * group, end = first_position + tokens;
    for (size_t row = 0; row < (count + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS; row++)
        start_row(rows + row / TILE_ROWS, row % TILE_ROWS, row < count ? row : count - 1, query, sinks, group, head_size,
                  first_position, window, stride);
    for (size_t start = first_position + 1 > window ? first_position + 1 - window : 0; start < end; start += CHUNK) {
        const size_t some = end - start < CHUNK ? end - start : CHUNK;
        size_t key_stride, value_stride;
        const float *keys = read_chunk(key, start, some, head_size, key_copy, &key_stride);
        const float *values = read_chunk(value, start, some, head_size, value_copy, &value_stride);
        for (size_t row = 0; row < count; row += TILE_ROWS)
            take_chunk(simd, rows + row / TILE_ROWS, keys, key_stride, values, value_stride, start, some, head_size);
    }
    for (size_t row = 0; row < count; row++) {
        const Rows *from = rows + row / TILE_ROWS;
        float *to = mixed + row / group * stride + row % group * head_size;
        for (size_t k = 0; k < head_size; k++)
            to[k] = from->sums[row % TILE_ROWS * head_size + k] / from->total[row % TILE_ROWS];
    }
}
