"""A model folder as one GGUF file, the format of llama.cpp.

No number of the experts changes: GGUF stores MXFP4 too, in another order. A block is its scale,
then 16 bytes of which byte j holds number j in the low nibble and number j + 16 in the high one,
where the checkpoint's byte j holds numbers 2j and 2j + 1. Gate and up, whose rows alternate in
the checkpoint, are two tensors. The dense matrices stay bfloat16 or become Q8_0 (32 int8 numbers
and a float16 scale); vectors and the router are float32.

Source: llama.cpp, conversion/gpt_oss.py, conversion/base.py and src/models/openai-moe.cpp.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minioss import bfloat16
from minioss.bfloat16 import BFloat16Array
from minioss.checkpoint import gguf_metadata
from minioss.checkpoint.loading import Checkpoint, open_checkpoint, read_weights
from minioss.checkpoint.whole import whole
from minioss.errors import InputError
from minioss.linear import Weight, decode
from minioss.mxfp4 import BLOCK, BYTES_PER_BLOCK, MXFP4Array
from minioss.transformer import LayerWeights, Weights

TYPE_OF_DENSE = {"bfloat16": "BF16", "int8": "Q8_0"}
VALUES_PER_CHUNK = 2**23


class Tensor(NamedTuple):
    """A tensor of the file: its name, what it holds, and the GGUF type to store it as."""

    name: str
    weight: Weight
    type: str


def write_gguf(
    folder: str | Path,
    out: str | Path,
    dense: str = "bfloat16",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a model folder as one GGUF file. It appears whole or not at all.

    A folder without ``tokenizer.json`` gives a file without a vocabulary: llama.cpp loads it and
    takes token ids, and no text. llama.cpp rounds YaRN's ramp whatever the config says.

    Parameters
    ----------
    folder : a model folder in either layout, with MXFP4 experts
    out : the file to make; it must not exist
    dense : "bfloat16" or "int8" (Q8_0), the type of the embedding, attention and unembedding matrices
    progress : called with (bytes written, bytes in all)

    Raises
    ------
    InputError
        Where the package gguf is missing, the model is one that llama.cpp would compute otherwise,
        the file exists, or the disk is too small.
    """
    gguf = _package()
    if dense not in TYPE_OF_DENSE:
        raise InputError(f"dense is {dense!r}; expected one of {', '.join(map(repr, TYPE_OF_DENSE))}")
    out = Path(out)
    checkpoint = open_checkpoint(folder)
    _check_experts(checkpoint)
    tensors = list(_tensors(read_weights(checkpoint), TYPE_OF_DENSE[dense]))
    _check_rows(tensors)
    keys = gguf_metadata.of_config(checkpoint.config)
    keys |= gguf_metadata.of_vocabulary(gguf_metadata.find_vocabulary(checkpoint), checkpoint.config.vocab_size)
    with whole(out, "file", sum(_nbytes(gguf, tensor) for tensor in tensors)) as partial:
        writer = gguf.GGUFWriter(partial, gguf_metadata.ARCHITECTURE)
        try:
            _write(gguf, writer, keys, tensors, progress)
        finally:
            writer.close()


def _package() -> ModuleType:
    try:
        import gguf
    except ImportError:
        raise InputError("GGUF files need the package gguf: pip install 'minioss[gguf]'") from None
    return gguf


def _check_experts(checkpoint: Checkpoint) -> None:
    if not checkpoint.mxfp4:
        raise InputError(f"the experts of {checkpoint.folder} are dense; a GGUF file is made from MXFP4 experts alone")


def _check_rows(tensors: list[Tensor]) -> None:
    for tensor in tensors:
        if tensor.type == "Q8_0" and tensor.weight.shape[-1] % BLOCK:
            raise InputError(
                f"{tensor.name} has rows of {tensor.weight.shape[-1]} numbers; int8 needs multiples of {BLOCK}"
            )


def _tensors(weights: Weights, dense: str) -> Iterator[Tensor]:
    yield Tensor("token_embd.weight", weights.embedding, dense)
    for number, layer in enumerate(weights.layers):
        for tensor in _layer(layer, dense):
            yield tensor._replace(name=f"blk.{number}.{tensor.name}")
    yield Tensor("output_norm.weight", weights.norm, "F32")
    yield Tensor("output.weight", weights.unembedding, dense)


def _layer(layer: LayerWeights, dense: str) -> Iterator[Tensor]:
    attention, experts = layer.attention, layer.experts
    yield Tensor("attn_norm.weight", layer.attention_norm, "F32")
    maps = {"q": attention.query, "k": attention.key, "v": attention.value, "output": attention.output}
    for name, linear in maps.items():
        yield Tensor(f"attn_{name}.weight", linear.weight, dense)
        yield Tensor(f"attn_{name}.bias", linear.bias, "F32")
    yield Tensor("attn_sinks.weight", attention.sinks, "F32")
    yield Tensor("post_attention_norm.weight", layer.experts_norm, "F32")
    yield Tensor("ffn_gate_inp.weight", layer.router.weight, "F32")
    yield Tensor("ffn_gate_inp.bias", layer.router.bias, "F32")
    for first, name in enumerate(("gate", "up")):
        rows = slice(None), slice(first, None, 2)
        yield Tensor(f"ffn_{name}_exps.weight", experts.gate_up[rows], "MXFP4")
        yield Tensor(f"ffn_{name}_exps.bias", experts.gate_up_bias[rows], "F32")
    yield Tensor("ffn_down_exps.weight", experts.down, "MXFP4")
    yield Tensor("ffn_down_exps.bias", experts.down_bias, "F32")


def _nbytes(gguf: ModuleType, tensor: Tensor) -> int:
    values, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[tensor.type]]
    return math.prod(tensor.weight.shape) // values * size


def _write(
    gguf: ModuleType,
    writer: Any,
    keys: dict[str, Any],
    tensors: list[Tensor],
    progress: Callable[[int, int], None] | None,
) -> None:
    gguf_metadata.add(writer, keys)
    sizes = [_nbytes(gguf, tensor) for tensor in tensors]
    for tensor, size in zip(tensors, sizes):
        stored_as = gguf.GGMLQuantizationType[tensor.type]
        writer.add_tensor_info(tensor.name, tensor.weight.shape, np.dtype(np.float32), size, stored_as)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    (file,) = writer.fout
    writer.write_padding(file, file.tell())
    written = 0
    for tensor, size in zip(tensors, sizes):
        for chunk in chunks(gguf, tensor):
            file.write(np.ascontiguousarray(chunk).data)
            written += chunk.nbytes
            if progress:
                progress(written, sum(sizes))
        writer.write_padding(file, size)


def chunks(gguf: ModuleType, tensor: Tensor) -> Iterator[NDArray]:
    """The bytes of a tensor in order, some rows or experts at a time."""
    count, *rest = tensor.weight.shape
    step = max(1, VALUES_PER_CHUNK // math.prod(rest))
    for first in range(0, count, step):
        chunk = tensor.weight[first : first + step]
        match tensor.type:
            case "MXFP4":
                yield in_gguf_order(chunk)
            case "BF16" if isinstance(chunk, BFloat16Array):
                yield chunk.bits
            case "BF16":
                yield bfloat16.encode(decode(chunk, np.float32))
            case "Q8_0":
                yield gguf.quants.quantize(decode(chunk, np.float32), gguf.GGMLQuantizationType.Q8_0)
            case "F32":
                yield decode(chunk, np.float32)


def in_gguf_order(weight: MXFP4Array) -> NDArray[np.uint8]:
    """MXFP4 numbers of shape (..., 32 B) as GGUF's blocks: uint8, (..., B, 17).

    >>> blocks = np.arange(16, dtype=np.uint8)[None] * 17  # byte j holds the codes j and j
    >>> in_gguf_order(MXFP4Array(blocks, np.array([127], np.uint8)))[0, :5].tolist()  # 127, then 0 8, 0 8, 1 9, 1 9
    [127, 128, 128, 145, 145]
    """
    left, right = np.split(weight.blocks, 2, axis=-1)
    out = np.empty((*weight.scales.shape, 1 + BYTES_PER_BLOCK), np.uint8)
    out[..., 0] = weight.scales
    out[..., 1::2] = left & 0x0F | right << 4
    out[..., 2::2] = left >> 4 | right & 0xF0
    return out
