/* Reading memory, for the bandwidth of this machine: what a decoded token is measured against. */

#include "simd.h"

uint64_t read_bytes(const uint8_t *bytes, size_t count)
{
    enum { SUMS = 16 };
    uint64_t sums[SUMS] = {0}, word = 0;
    size_t start = 0;
    for (; start + sizeof sums <= count; start += sizeof sums)
        for (size_t lane = 0; lane < SUMS; lane++) {
            memcpy(&word, bytes + start + lane * sizeof word, sizeof word);
            sums[lane] += word;
        }
    for (; start < count; start++)
        sums[0] += bytes[start];
    for (size_t lane = 1; lane < SUMS; lane++)
        sums[0] += sums[lane];
    return sums[0];
}
