/* MXFP4 decoding: the twin of minioss/mxfp4.py. */
#ifndef MINIOSS_MXFP4_H
#define MINIOSS_MXFP4_H

#include <stddef.h>
#include <stdint.h>

/* Turn `count` blocks of 16 bytes, each with its scale byte, into 32 floats each. */
void mxfp4_decode(const uint8_t *blocks, const uint8_t *scales, float *values, size_t count);

#endif
