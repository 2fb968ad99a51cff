#include "mxfp4.h"

#include <math.h>

enum { BYTES_PER_BLOCK = 16, NAN_SCALE = 255, SCALE_BIAS = 127 };

static const float CODES[16] = {
    0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f,
    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f,
};

void mxfp4_decode(const uint8_t *blocks, const uint8_t *scales, float *values, size_t count)
{
    for (size_t block = 0; block < count; block++) {
        const float scale = scales[block] == NAN_SCALE ? NAN : ldexpf(1.0f, scales[block] - SCALE_BIAS);
        for (int byte = 0; byte < BYTES_PER_BLOCK; byte++) {
            const uint8_t pair = blocks[block * BYTES_PER_BLOCK + byte];
            *values++ = CODES[pair & 15] * scale;
            *values++ = CODES[pair >> 4] * scale;
        }
    }
}
