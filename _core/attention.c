/* Attention of one key/value head, key chunk by key chunk: no score is kept longer than its chunk.
 *
 * The softmax is that of the whole row all the same: its largest score and its sum so far are kept, and what was
 * summed is scaled down when a larger score comes. The sink is where both start.
 */

#include "simd.h"

#include <math.h>

/* The score of a key that a row does not see: e^(this - any other) is next to nothing, and no infinity. */
static const float UNSEEN = -1e30f;

/* Four query rows on their way through the keys. */
typedef struct {
    float queries[TILE_ROWS * LARGEST_HEAD];
    float sums[TILE_ROWS * LARGEST_HEAD]; /* of values, weighted */
    float largest[TILE_ROWS], total[TILE_ROWS];
    size_t first[TILE_ROWS], end[TILE_ROWS]; /* the keys that a row sees */
} Rows;

static size_t width(Heads heads) { return heads.wide ? sizeof(float) : sizeof(uint16_t); }

static const char *position(Heads heads, size_t s)
{
    return (const char *)heads.numbers + s * heads.stride * width(heads);
}

/* The keys or values from `start` on as float32, copied where they are not. */
static const float *read_chunk(Heads heads, size_t start, size_t count, size_t head_size, float *copy, size_t *stride)
{
    *stride = heads.wide ? heads.stride : head_size;
    if (heads.wide)
        return (const float *)position(heads, start);
    for (size_t s = 0; s < count; s++) {
        const uint16_t *bits = (const uint16_t *)position(heads, start + s);
        for (size_t k = 0; k < head_size; k++) {
            const uint32_t word = (uint32_t)bits[k] << 16;
            memcpy(copy + s * head_size + k, &word, sizeof word);
        }
    }
    return copy;
}

/* Hide the keys of a chunk, `start` and on, that one row does not see; `count` of them have a score. */
static void hide_unseen(const Rows *rows, size_t r, float *scores, size_t start, size_t count)
{
    for (size_t s = 0; s < count && start + s < rows->first[r]; s++)
        scores[s] = UNSEEN;
    for (size_t s = count; s > 0 && start + s > rows->end[r]; s--)
        scores[s - 1] = UNSEEN;
}

/* Some positions' keys, as columns, and values, as rows; and where the next ones are. */
typedef struct {
    const float *columns, *values;
    size_t value_stride, start, count;
    const char *next_keys, *next_values;
} Chunk;

static void take_chunk(const Simd *simd, Rows *rows, const Chunk *chunk, size_t head_size, size_t ahead)
{
    float scores[TILE_ROWS * CHUNK] = {0};
    const size_t scored = (chunk->count + 15) / 16 * 16;
    simd->mix(rows->queries, head_size, chunk->columns, CHUNK, head_size, scored, scores, CHUNK,
              chunk->next_keys + ahead);
    for (size_t r = 0; r < TILE_ROWS; r++) {
        hide_unseen(rows, r, scores + r * CHUNK, chunk->start, scored);
        const float scale = simd->soften(scores + r * CHUNK, scored, &rows->largest[r], &rows->total[r]);
        for (size_t k = 0; scale != 1.0f && k < head_size; k++)
            rows->sums[r * head_size + k] *= scale;
    }
    simd->mix(scores, CHUNK, chunk->values, chunk->value_stride, chunk->count, head_size, rows->sums, head_size,
              chunk->next_values + ahead);
}

/* Row `row` of the task is query `row % group` of token `row / group`; rows beyond the last repeat it. */
static void start_row(Rows *rows, size_t r, size_t row, const float *query, const float *sinks, size_t group,
                      size_t head_size, size_t first_position, size_t window, size_t stride)
{
    const size_t own = first_position + row / group;
    const float *from = query + row / group * stride + row % group * head_size;
    const float scale = 1.0f / sqrtf((float)head_size);
    for (size_t k = 0; k < head_size; k++) {
        rows->queries[r * head_size + k] = from[k] * scale;
        rows->sums[r * head_size + k] = 0.0f;
    }
    rows->largest[r] = sinks[row % group];
    rows->total[r] = 1.0f;
    rows->end[r] = own + 1;
    rows->first[r] = own + 1 > window ? own + 1 - window : 0;
}

void attend_head(const Simd *simd, const float *query, Heads key, Heads value, const float *sinks, size_t tokens,
                 size_t group, size_t head_size, size_t first_position, size_t window, float *mixed, size_t stride)
{
    Rows rows[QUERY_ROWS / TILE_ROWS];
    float key_copy[CHUNK * LARGEST_HEAD], columns[LARGEST_HEAD * CHUNK], value_copy[CHUNK * LARGEST_HEAD];
    const size_t count = tokens * group, end = first_position + tokens;
    for (size_t row = 0; row < (count + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS; row++)
        start_row(rows + row / TILE_ROWS, row % TILE_ROWS, row < count ? row : count - 1, query, sinks, group, head_size,
                  first_position, window, stride);
    for (size_t start = first_position + 1 > window ? first_position + 1 - window : 0; start < end; start += CHUNK) {
        const size_t some = end - start < CHUNK ? end - start : CHUNK, tiles = (count + TILE_ROWS - 1) / TILE_ROWS;
        size_t key_stride, value_stride;
        const float *keys = read_chunk(key, start, some, head_size, key_copy, &key_stride);
        const float *values = read_chunk(value, start, some, head_size, value_copy, &value_stride);
        const Chunk chunk = {columns, values, value_stride, start, some, position(key, start + some),
                             position(value, start + some)};
        simd->transpose(keys, key_stride, some, head_size, columns);
        /* Each tile asks for its share of the chunk that comes next. */
        for (size_t tile = 0; tile < tiles; tile++)
            take_chunk(simd, rows + tile, &chunk, head_size, tile * some * head_size * width(key) / tiles);
    }
    for (size_t row = 0; row < count; row++) {
        const Rows *from = rows + row / TILE_ROWS;
        float *to = mixed + row / group * stride + row % group * head_size;
        for (size_t k = 0; k < head_size; k++)
            to[k] = from->sums[row % TILE_ROWS * head_size + k] / from->total[row % TILE_ROWS];
    }
}
