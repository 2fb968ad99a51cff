"""Records `vectors.bin`: inputs for the kernels, and what the NumPy twins make of them in float64.

    python -m tests.aarch64.record

The file is a sequence of records, all little-endian. A record is eight 32-bit integers, its kind and up to seven sizes,
and then its arrays, each followed by zeros up to a multiple of eight bytes:

    kind            sizes                                             arrays before the last two
    0  activations  tokens, length                                    x; for the products after it, and no more arrays
    1  product      format, rows, length, tokens                      codes, scales (none for bfloat16)
    2  swiglu       F                                                 gate_up (2F), alpha and limit
    3  attention    wide, keys, tokens, group, head size, window      query, keys, values, sinks
    4  normalise    length                                            x, gain, eps
    5  turn         heads, head size                                  x, cosine, sine
    6  soften       scores                                            scores, largest and total before

Formats: 0 is MXFP4, 1 MXINT8, 2 bfloat16. A product reads the first `length` numbers of each row of x. Keys and values
are float32 where `wide` is 1, else bfloat16; a window of 0 is none. What softens gives its scores, largest and total after, and the scale. The last two arrays are the results as float32,
and by how much a kernel's may differ: each `*_bound` says why. Everything else is float32 too, but codes and scales.

The numbers are multiples of 2^-20 and scales are close to one another, so that sums of products are exact in float64
whatever their order: the file is the same on every machine.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minioss import bfloat16
from minioss.attention import attend
from minioss.bfloat16 import BFloat16Array
from minioss.experts import swiglu
from minioss.linear import Weight, decode, matmul
from minioss.mxfp4 import MXFP4Array
from minioss.mxint8 import MXINT8Array
from minioss.rmsnorm import rms_norm
from minioss.rope import Rotation, rotate

VECTORS = Path(__file__).with_name("vectors.bin")

ACTIVATIONS, PRODUCT, SWIGLU, ATTENTION, NORMALISE, TURN, SOFTEN = range(7)
FORMATS = [MXFP4Array, MXINT8Array, BFloat16Array]

# Half the distance from 1 to the next float32.
UNIT = 2.0**-24


def record(kind: int, sizes: list[int], *arrays: NDArray) -> bytes:
    head = np.zeros(8, "<u4")
    head[: 1 + len(sizes)] = [kind, *sizes]
    return b"".join(part + bytes(-len(part) % 8) for part in (head.tobytes(), *(array.tobytes() for array in arrays)))


def results(exact: NDArray, allowed: NDArray) -> tuple[NDArray, NDArray]:
    """Both as float32, and every NaN as the same bits."""
    nan = np.isnan(exact)
    return np.where(nan, np.nan, exact).astype("<f4"), np.where(nan, 0, allowed).astype("<f4")


def numbers(random: np.random.RandomState, *shape: int) -> NDArray:
    """Multiples of 2^-20 from -4 to 4."""
    return (random.randint(-(2**22), 2**22, shape) / 2**20).astype("<f4")


# Products


def mxfp4(random: np.random.RandomState, rows: int, length: int) -> MXFP4Array:
    blocks = random.randint(0, 256, (rows, length // 32, 16)).astype(np.uint8)
    return MXFP4Array(blocks, random.randint(123, 131, blocks.shape[:2]).astype(np.uint8))


def mxint8(random: np.random.RandomState, rows: int, length: int) -> MXINT8Array:
    integers = random.randint(-128, 128, (rows, length // 32, 32)).astype(np.int8)
    return MXINT8Array(integers, random.randint(123, 131, integers.shape[:2]).astype(np.uint8))


def tailed(random: np.random.RandomState, rows: int, length: int) -> BFloat16Array:
    return BFloat16Array(bfloat16.encode(numbers(random, rows, length)))


def with_scales(weight: Weight, scales: range) -> Weight:
    """One row a scale, with numbers that float32 can hold."""
    each = np.repeat(np.array(scales, np.uint8)[:, None], weight.scales.shape[1], axis=1)
    if isinstance(weight, MXFP4Array):  # codes up to 1.5 where 6 is too large
        return MXFP4Array(np.where(each[..., None] > 252, weight.blocks & 0xBB, weight.blocks), each)
    return MXINT8Array(np.where(each[..., None] > 247, weight.integers % 2, weight.integers).astype(np.int8), each)


def product_bound(x: NDArray, weight: Weight) -> NDArray:
    """One rounding a term, of a partial sum that is no larger than all sizes together; and a few more."""
    return (weight.shape[1] + 8) * UNIT * matmul(np.abs(x), np.abs(decode(weight, np.float64)))


def product(x: NDArray, weight: Weight) -> bytes:
    rows, length = weight.shape
    x = x[:, :length].astype(np.float64)
    packed = [np.ascontiguousarray(array) for array in vars(weight).values()]
    with np.errstate(invalid="ignore"):
        expected = results(matmul(x, weight), product_bound(x, weight))
    return record(PRODUCT, [FORMATS.index(type(weight)), rows, length, len(x)], *packed, *expected)


def products(random: np.random.RandomState) -> list[bytes]:
    short, long, some = numbers(random, 33, 160), numbers(random, 5, 1056), numbers(random, 5, 64)
    tails = [tailed(random, rows, length) for rows, length in ((37, 157), (5, 31), (2, 1))]
    cases = [
        (short, [make(random, *shape) for shape in ((37, 160), (1, 32)) for make in (mxfp4, mxint8)] + tails),
        (long, [make(random, 3, 1056) for make in (mxfp4, mxint8)] + [tailed(random, 3, 1043)]),
    ]
    # x keeps the products at ordinary sizes, whatever the scale.
    for factor, scales in ((2.0**40, range(128)), (2.0**-40, range(128, 256))):
        weights = [with_scales(make(random, 128, 64), scales) for make in (mxfp4, mxint8)]
        cases.append((some * np.float32(factor), weights))
    parts = []
    for x, weights in cases:
        parts += [record(ACTIVATIONS, [*x.shape], x), *(product(x, weight) for weight in weights)]
    return parts


# Everything else


def swiglu_bound(gate_up: NDArray, exact: NDArray) -> NDArray:
    """A few units in the last place, and what rounding the exponent costs; e^88 stands for all beyond it."""
    return (1e-6 + 2e-7 * np.minimum(np.abs(gate_up[0::2]), 100)) * np.abs(exact) + 1e-35


def activation(random: np.random.RandomState) -> bytes:
    alpha, limit, nan, infinity = 1.702, 7.0, np.nan, np.inf
    gate_up = numbers(random, 2 * 201) * np.float32(3)
    gate_up[0:362:2] = np.linspace(-95, 12, 181)
    gate_up[362:372] = [nan, 1, 1, nan, infinity, 2, 3, infinity, 4, -infinity]
    exact = swiglu(gate_up[None].astype(np.float64), float(np.float32(alpha)), limit)[0]
    settings = np.array([alpha, limit], "<f4")
    return record(SWIGLU, [201], gate_up, settings, *results(exact, swiglu_bound(gate_up, exact)))


def attention_bound(query: NDArray, key: NDArray, value: NDArray, sinks: NDArray, window: int | None) -> NDArray:
    """What is wrong in a score is wrong in its weight, and in the sum of weights: twice the rounding of the largest
    possible score, which is a sum of K products. Then both sums over S positions round."""
    S, _, K = key.shape
    largest = (np.abs(query) @ np.abs(key[:, 0]).T).max(axis=-1, keepdims=True) / np.sqrt(K)
    rounding = 2 * (K + 8) * largest + 2 * np.abs(sinks)[:, None] + 2 * S + 32
    return rounding * UNIT * attend(query, key, np.abs(value), sinks, window)


def attention(query: NDArray, key: Weight, value: Weight, sinks: NDArray, window: int | None) -> bytes:
    (T, group, K), wide = query.shape, isinstance(key, np.ndarray)
    arrays = [query, *([key, value] if wide else [key.bits, value.bits]), sinks]
    exact = [decode(array, np.float64) for array in (query, key, value, sinks)]
    expected = results(attend(*exact, window), attention_bound(*exact, window))
    return record(ATTENTION, [int(wide), key.shape[0], T, group, K, window or 0], *arrays, *expected)


def attentions(random: np.random.RandomState) -> list[bytes]:
    """One token of eight heads as in the released models; then several, whose rows are no multiple of four."""
    one, several = (1, 8, 64), (5, 3, 32)
    cases = [(one, True, None), (several, False, None), (several, True, 9)]
    parts = []
    for (T, group, K), rounded, window in cases:
        shapes = (T, group, K), (group,), (75, 1, K), (75, 1, K)
        query, sinks, key, value = (numbers(random, *shape) for shape in shapes)
        if rounded:
            key, value = (BFloat16Array(bfloat16.encode(array)) for array in (key, value))
        parts.append(attention(query, key, value, sinks, window))
    return parts


def normalised(random: np.random.RandomState, length: int) -> bytes:
    """Bound: a rounding for each square that is added, and a few more."""
    x, gain, eps = numbers(random, length), numbers(random, length), np.array([1e-5], "<f4")
    exact = rms_norm(x[None].astype(np.float64), gain.astype(np.float64), float(eps[0]))[0]
    return record(NORMALISE, [length], x, gain, eps, *results(exact, (length + 8) * UNIT * np.abs(exact)))


def turned(random: np.random.RandomState, heads: int, head_size: int) -> bytes:
    """Bound: two products are rounded, and their sum. Any numbers do as cosine and sine."""
    x, cosine, sine = numbers(random, heads, head_size), *numbers(random, 2, head_size // 2)
    exact = [array[None].astype(np.float64) for array in (x, cosine, sine)]
    size, cosine_size, sine_size = map(np.abs, exact)
    sizes = [rotate(size, Rotation(cosine_size, sign * sine_size)) for sign in (1, -1)]
    expected = results(rotate(exact[0], Rotation(*exact[1:])), 3 * UNIT * np.maximum(*sizes))
    return record(TURN, [heads, head_size], x, cosine, sine, *expected)


def softened(random: np.random.RandomState, count: int, before: float, with_nan: bool) -> bytes:
    """Bound: two units in the last place of an exponential, which are at most four UNIT, what `results` rounds, and the
    sums."""
    scores, total = np.float32(10) * numbers(random, count), np.float32(1.5)
    scores[count // 2] = np.nan if with_nan else 0
    largest = np.fmax(np.nanmax(scores), np.float32(before))
    exact, scale = np.exp((scores - largest).astype(np.float64)), np.exp(np.float64(before) - largest)
    after = np.array([*exact, largest, total * scale + exact.sum(), scale])
    allowed = UNIT * after * np.array([5.0] * count + [0.0, count + 8, 5])
    state = np.array([before, total], "<f4")
    return record(SOFTEN, [count], scores, state, *results(after, allowed))


def vectors() -> bytes:
    random = np.random.RandomState(0)  # no version of NumPy changes its numbers
    return b"".join([
        *products(random), activation(random), *attentions(random),
        normalised(random, 157), normalised(random, 32), turned(random, 3, 64), turned(random, 2, 30),
        softened(random, 64, 3.0, False), softened(random, 48, 40.0, True),
    ])  # fmt: skip


if __name__ == "__main__":
    VECTORS.write_bytes(vectors())
