/* AVX-512 VNNI: products of 8-bit integers, four to a lane, summed in 32 bits.
 *
 * A lane stands for a block of 32 numbers, so a register for 16 blocks, a *group*. Eight registers hold a group: each
 * has four numbers of every block. Their eight products add up in one register, which becomes float32, and two
 * multiplications by the scales of both sides end the group.
 *
 * The instruction multiplies unsigned by signed: weights are shifted by the format's offset to be unsigned, and the
 * sum starts at the offset times the sum of x, negative.
 */

#include "simd.h"

#if MINIOSS_X86

#include <immintrin.h>
#include <math.h>

#define VNNI TARGET("avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")

enum { BLOCK = 32, GROUP_BLOCKS = 16, GROUP = BLOCK * GROUP_BLOCKS, REGISTERS = 8 };

/* A group of a row of weights, and one of a token. */
typedef struct {
    uint8_t numbers[REGISTERS][64];
    float scales[GROUP_BLOCKS];
} Weights;

typedef struct {
    int8_t numbers[REGISTERS][64];
    float scales[GROUP_BLOCKS];
    int32_t start[GROUP_BLOCKS];
} Token;

/* Rows and tokens whose sums stay in the nearest cache. */
enum { SOME_ROWS = 16, SOME_TOKENS = 16 };

/* Numbers 0, 2, 4, 6 of eight stand in one register and 1, 3, 5, 7 in the next, as the codes of MXFP4 come out. */
static size_t register_of(size_t number) { return number / 8 * 2 + number % 2; }

static size_t byte_of(size_t block, size_t number) { return block * 4 + number % 8 / 2; }

static size_t groups_of(size_t length) { return (length + GROUP - 1) / GROUP; }

/* The scales of up to 16 blocks as float32; 0 where a row has fewer. */
VNNI INLINE __m512 load_scales(const uint8_t *scales, __mmask16 there)
{
    const __m512i exponents = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(there, scales));
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), there, exponents, SCALES, sizeof(float));
}

VNNI INLINE __mmask16 blocks_there(size_t blocks) { return blocks < 16 ? (__mmask16)((1u << blocks) - 1) : 0xFFFF; }

/* Twice the value of a code and 12: 0 to 24. Word d of every block's four holds eight codes. */
VNNI void unpack_integers_mxfp4(const uint8_t *codes, const uint8_t *scales, void *row, size_t n)
{
    const __m512i table = _mm512_broadcast_i32x4(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i first_words = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    Weights *group = row;
    for (size_t start = 0; start < n; start += GROUP, group++) {
        const size_t blocks = (n - start) / BLOCK;
        const uint64_t words = blocks < 16 ? (1ull << 4 * blocks) - 1 : ~0ull;
        const uint8_t *here = codes + start / 2;
        __m512i four[4];
        for (int part = 0; part < 4; part++)
            four[part] = _mm512_maskz_loadu_epi32((__mmask16)(words >> 16 * part), here + 64 * part);
        _mm_prefetch((const char *)(here + PREFETCH), _MM_HINT_T0);
        _mm_prefetch((const char *)(here + PREFETCH + 64), _MM_HINT_T0);
        _mm_prefetch((const char *)(here + PREFETCH + 128), _MM_HINT_T0);
        _mm_prefetch((const char *)(here + PREFETCH + 192), _MM_HINT_T0);
        for (int word = 0; word < 4; word++) {
            const __m512i at = _mm512_add_epi32(first_words, _mm512_set1_epi32(word));
            const __m512i lower = _mm512_permutex2var_epi32(four[0], at, four[1]);
            const __m512i upper = _mm512_permutex2var_epi32(four[2], at, four[3]);
            const __m512i bytes = _mm512_inserti64x4(lower, _mm512_castsi512_si256(upper), 1);
            const __m512i even = _mm512_and_si512(bytes, nibble);
            const __m512i odd = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble);
            _mm512_storeu_si512(group->numbers[2 * word], _mm512_shuffle_epi8(table, even));
            _mm512_storeu_si512(group->numbers[2 * word + 1], _mm512_shuffle_epi8(table, odd));
        }
        const __m512 twice = load_scales(scales + start / BLOCK, blocks_there(blocks));
        _mm512_storeu_ps(group->scales, _mm512_mul_ps(twice, _mm512_set1_ps(0.5f)));
    }
}

/* An integer and 128. */
VNNI void unpack_integers_mxint8(const uint8_t *codes, const uint8_t *scales, void *row, size_t n)
{
    Weights *group = row;
    for (size_t start = 0; start < n; start += GROUP, group++) {
        const size_t blocks = (n - start) / BLOCK;
        memset(group->numbers, 128, sizeof group->numbers);
        for (size_t block = 0; block < blocks && block < GROUP_BLOCKS; block++)
            for (size_t number = 0; number < BLOCK; number++)
                group->numbers[register_of(number)][byte_of(block, number)] =
                    codes[start + block * BLOCK + number] ^ 128;
        _mm512_storeu_ps(group->scales, load_scales(scales + start / BLOCK, blocks_there(blocks)));
    }
}

/* x is rounded already: its numbers are multiples of 1/127 of the largest of each block. */
static void lay_out_token(const Format *format, const float *arranged, size_t length, Token *groups)
{
    memset(groups, 0, groups_of(length) * sizeof *groups);
    for (size_t first = 0; first < length; first += format->group) {
        float numbers[128];
        for (size_t place = 0; place < format->group; place++)
            numbers[format->order[place]] = arranged[first + place];
        for (size_t start = 0; start < format->group; start += BLOCK) {
            const size_t block = (first + start) / BLOCK;
            Token *group = groups + block / GROUP_BLOCKS;
            float largest = 0.0f;
            int32_t sum = 0;
            for (size_t i = 0; i < BLOCK; i++)
                largest = fabsf(numbers[start + i]) > largest || isnan(numbers[start + i]) ? fabsf(numbers[start + i])
                                                                                           : largest;
            const float steps_in_one = largest > 0.0f && largest < INFINITY ? 127.0f / largest : 0.0f;
            for (size_t i = 0; i < BLOCK; i++) {
                const int8_t integer = steps_in_one > 0.0f ? (int8_t)lrintf(numbers[start + i] * steps_in_one) : 0;
                group->numbers[register_of(i)][byte_of(block % GROUP_BLOCKS, i)] = integer;
                sum += integer;
            }
            group->scales[block % GROUP_BLOCKS] = largest / 127.0f;
            group->start[block % GROUP_BLOCKS] = -format->offset * sum;
        }
    }
}

size_t token_bytes_vnni(size_t length) { return groups_of(length) * sizeof(Token); }

size_t panel_bytes_vnni(size_t length) { return SOME_ROWS * groups_of(length) * sizeof(Weights); }

void lay_out_vnni(const Format *format, const float *rows, size_t length, size_t tokens, void *x)
{
    for (size_t token = 0; token < tokens; token++)
        lay_out_token(format, rows + token * length, length, (Token *)x + token * groups_of(length));
}

/* Add a group's products of two rows and some tokens. */
VNNI INLINE void add_group(const Weights *first, const Weights *second, const Token *x, size_t stride, size_t tokens,
                           float (*first_sums)[16], float (*second_sums)[16])
{
    __m512i rows[2][REGISTERS];
    const __m512 scales[2] = {_mm512_loadu_ps(first->scales), _mm512_loadu_ps(second->scales)};
#pragma GCC unroll 8
    for (int i = 0; i < REGISTERS; i++) {
        rows[0][i] = _mm512_loadu_si512(first->numbers[i]);
        rows[1][i] = _mm512_loadu_si512(second->numbers[i]);
    }
    for (size_t t = 0; t < tokens; t++, x += stride) {
        const __m512 scale = _mm512_loadu_ps(x->scales);
        __m512i sums[2];
        sums[0] = sums[1] = _mm512_loadu_si512(x->start);
#pragma GCC unroll 8
        for (int i = 0; i < REGISTERS; i++) {
            const __m512i numbers = _mm512_loadu_si512(x->numbers[i]);
            sums[0] = _mm512_dpbusd_epi32(sums[0], rows[0][i], numbers);
            sums[1] = _mm512_dpbusd_epi32(sums[1], rows[1][i], numbers);
        }
        /* The scale of x comes first: times that of a large weight alone, a sum might overflow. */
        const __m512 one = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[0]), scale);
        const __m512 two = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[1]), scale);
        _mm512_storeu_ps(first_sums[t], _mm512_fmadd_ps(one, scales[0], _mm512_loadu_ps(first_sums[t])));
        _mm512_storeu_ps(second_sums[t], _mm512_fmadd_ps(two, scales[1], _mm512_loadu_ps(second_sums[t])));
    }
}

VNNI static void multiply_some(const Weights *rows, size_t count, const Token *x, size_t tokens, size_t groups, float *y,
                               size_t stride)
{
    float sums[SOME_ROWS][SOME_TOKENS][16];
    memset(sums, 0, sizeof sums);
    for (size_t group = 0; group < groups; group++)
        for (size_t row = 0; row < count; row += 2) {
            const Weights *first = rows + row * groups + group;
            /* Without a second row the first is multiplied twice, and the second result dropped. */
            add_group(first, first + (row + 1 < count ? groups : 0), x + group, groups, tokens, sums[row], sums[row + 1]);
        }
    for (size_t t = 0; t < tokens; t++)
        for (size_t row = 0; row < count; row++)
            y[t * stride + row] = _mm512_reduce_add_ps(_mm512_loadu_ps(sums[row][t]));
}

VNNI void multiply_vnni(const Simd *simd, const Matrix *matrix, size_t first, size_t rows, const void *x, size_t tokens,
                        float *y, size_t stride, void *panel)
{
    const size_t groups = groups_of(arranged_length(matrix->format, matrix->length));
    Weights *weights = panel;
    (void)simd;
    for (size_t start = 0; start < rows; start += SOME_ROWS) {
        const size_t count = rows - start < SOME_ROWS ? rows - start : SOME_ROWS;
        for (size_t row = 0; row < count; row++)
            matrix->format->unpack_integers(matrix->codes + (first + start + row) * matrix->row_bytes,
                                            matrix->scales + (first + start + row) * matrix->row_scales,
                                            weights + row * groups, matrix->length);
        for (size_t token = 0; token < tokens; token += SOME_TOKENS) {
            const size_t some = tokens - token < SOME_TOKENS ? tokens - token : SOME_TOKENS;
            multiply_some(weights, count, (const Token *)x + token * groups, some, groups, y + token * stride + start,
                          stride);
        }
    }
}

VNNI double spin_vnni(size_t rounds)
{
    enum { CHAINS = 16, OPERATIONS = 2 * 64 };
    volatile int given = 1;
    const __m512i ones = _mm512_set1_epi8((char)given);
    __m512i sums[CHAINS];
    for (int chain = 0; chain < CHAINS; chain++)
        sums[chain] = ones;
    for (size_t round = 0; round < rounds; round++)
#pragma GCC unroll 16
        for (int chain = 0; chain < CHAINS; chain++)
            sums[chain] = _mm512_dpbusd_epi32(sums[chain], ones, ones);
    for (int chain = 0; chain < CHAINS; chain++)
        given = _mm_cvtsi128_si32(_mm512_castsi512_si128(sums[chain]));
    return (double)OPERATIONS * CHAINS * (double)rounds;
}

#endif
