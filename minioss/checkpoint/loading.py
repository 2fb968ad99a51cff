"""From a model folder to a model: nothing is read but headers; the weights stay on disk."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from minioss.attention import AttentionWeights
from minioss.checkpoint import layouts
from minioss.checkpoint.config_json import HUGGINGFACE, from_json, layout_of
from minioss.checkpoint.shards import Shards, read_json
from minioss.config import Config
from minioss.errors import InputError
from minioss.experts import ExpertWeights
from minioss.linear import Linear, Weight
from minioss.model import Model
from minioss.mxfp4 import BLOCK, MXFP4Array
from minioss.mxint8 import quantize
from minioss.transformer import LayerWeights, Weights

FLOATS = ("BF16", "F16", "F32")
# The trained model in the package: see docs/tiny-model.md.
TINY = Path(__file__).parent.parent / "tiny"


class Checkpoint(NamedTuple):
    """An opened model folder, every tensor of it checked for name, type and shape."""

    folder: Path
    config: Config
    layout: str
    mxfp4: bool
    shards: Shards
    tensors: dict[tuple[str, int | None], layouts.Tensor]

    def read(self, part: str, layer: int | None = None) -> Weight:
        """A weight by our own name of it, mapped from disk."""
        if part in layouts.DENSE and self.mxfp4:
            blocks, scales = self.read(f"{part}.blocks", layer), self.read(f"{part}.scales", layer)
            return MXFP4Array(blocks, scales)
        weight = self.shards.tensor(self.tensors[part, layer].name)
        transposed = part in layouts.DENSE and self.layout == HUGGINGFACE
        return weight.swapaxes(1, 2) if transposed else weight


def load(
    folder: str | Path,
    dtype: str = "float32",
    kernels: str | None = None,
    threads: int | None = None,
    activations: str = "float32",
    dense: str = "bfloat16",
    cache: str = "float32",
) -> Model:
    """Open a model folder in either official layout.

    Parameters
    ----------
    folder : the folder that holds ``config.json`` and the ``*.safetensors`` files. In the official
        download that is the folder itself (Hugging Face layout) or its ``original``
    dtype : "float32" or "float64", the type of all activations
    kernels : "numpy", "cython", or None for Cython where it is built
    threads : how many the kernels use; None for MINIOSS_THREADS, or one a processor
    activations : "float32", or "bfloat16" or "int8" to round the operands of the large products
    dense : "bfloat16" to use the attention's maps and the unembedding as they are stored, or "int8"
        to round them to `mxint8` now, into memory: 1.25 GB for the 20b
    cache : "float32" to keep keys and values in the type of the activations, or "bfloat16"

    Returns
    -------
    Model
        Its weights are mapped from disk and read when they are used.

    Raises
    ------
    InputError
        Where the folder, the config, a tensor or an option is not as it should be.
    """
    checkpoint = open_checkpoint(folder)
    weights, stops = read_weights(checkpoint), stop_tokens(Path(folder))
    model = Model(checkpoint.config, weights, dtype, kernels, threads, activations, cache, stops, Path(folder))
    if dense not in ("bfloat16", "int8"):
        raise InputError(f"dense is {dense!r}; expected 'bfloat16' or 'int8'")
    return with_int8_dense(model) if dense == "int8" else model


def read_weights(checkpoint: Checkpoint) -> Weights:
    """All weights of a model folder, mapped from disk; the same in either layout."""
    layers = [_layer(checkpoint, layer) for layer in range(checkpoint.config.num_hidden_layers)]
    embedding, norm, unembedding = (checkpoint.read(part) for part in ("embedding", "norm", "unembedding"))
    return Weights(embedding, layers, norm, unembedding)


def with_int8_dense(model: Model) -> Model:
    """The same model with the attention's maps and the unembedding rounded to `mxint8`."""

    def rounded(weights: Linear) -> Linear:
        return weights._replace(weight=quantize(weights.weight))

    def rounded_layer(layer: LayerWeights) -> LayerWeights:
        maps = {name: rounded(getattr(layer.attention, name)) for name in ("query", "key", "value", "output")}
        return layer._replace(attention=layer.attention._replace(**maps))

    with model.kernels_in_use():
        weights = model.weights._replace(
            layers=[rounded_layer(layer) for layer in model.weights.layers],
            unembedding=quantize(model.weights.unembedding),
        )
    return dataclasses.replace(model, weights=weights)


def open_checkpoint(folder: str | Path) -> Checkpoint:
    """Read the config and the headers of a folder, and check them against each other."""
    folder = Path(folder)
    config, layout = read_config(folder)
    shards = Shards(folder)
    mxfp4 = layouts.name(layout, "gate_up", layer=0) not in shards
    if mxfp4 and (config.hidden_size % BLOCK or config.intermediate_size % BLOCK):
        raise InputError(
            f"hidden_size is {config.hidden_size} and intermediate_size {config.intermediate_size}; "
            f"MXFP4 experts need multiples of {BLOCK}"
        )
    tensors = {(tensor.part, tensor.layer): tensor for tensor in layouts.tensors(config, layout, mxfp4)}
    for tensor in tensors.values():
        _check(shards, tensor)
    return Checkpoint(folder, config, layout, mxfp4, shards, tensors)


def read_config(folder: Path) -> tuple[Config, str]:
    """The config of a model folder, and the layout that it announces."""
    if not folder.exists():
        raise InputError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; expected the folder that holds config.json")
    path = folder / "config.json"
    if not path.exists():
        hint = "; did you mean its folder 'original'?" if (folder / "original" / "config.json").exists() else ""
        raise InputError(f"{folder} has no config.json{hint}")
    content = read_json(path)
    try:
        return from_json(content), layout_of(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def stop_tokens(folder: Path) -> tuple[int, ...]:
    """The ids that end a text: ``eos_token_id`` of generation_config.json, or else of config.json.

    The original layout has neither; its folder ``original`` uses those of the folder above.
    """
    places = [folder, folder.parent] if folder.name == "original" else [folder]
    for path in (place / name for place in places for name in ("generation_config.json", "config.json")):
        content: dict[str, Any] = read_json(path) if path.exists() else {}
        ids = content.get("eos_token_id")
        if ids is not None:
            ids = ids if isinstance(ids, list) else [ids]
            if not all(type(token) is int for token in ids):
                raise InputError(f"{path}: eos_token_id is {ids}; expected an integer or a list of them")
            return tuple(ids)
    return ()


def _check(shards: Shards, tensor: layouts.Tensor) -> None:
    entry = shards.entry(tensor.name)
    if entry.shape != tensor.shape:
        raise InputError(f"{tensor.name} has shape {entry.shape}; expected ({tensor.axes}) = {tensor.shape}")
    expected = ("U8",) if tensor.is_bytes else FLOATS
    if entry.dtype not in expected:
        raise InputError(f"{tensor.name} has type {entry.dtype}; expected {' or '.join(expected)}")


def _layer(checkpoint: Checkpoint, layer: int) -> LayerWeights:
    def read(part: str) -> Weight:
        return checkpoint.read(part, layer)

    def read_linear(part: str) -> Linear:
        return Linear(read(f"{part}.weight"), read(f"{part}.bias"))

    fused = ("query_key_value.weight", layer) in checkpoint.tensors
    query, key, value = (
        split_rows(read_linear("query_key_value"), checkpoint.config)
        if fused
        else map(read_linear, ("query", "key", "value"))
    )
    return LayerWeights(
        attention_norm=read("attention_norm"),
        attention=AttentionWeights(query, key, value, read_linear("output"), read("sinks")),
        experts_norm=read("experts_norm"),
        router=read_linear("router"),
        experts=ExpertWeights(read("gate_up"), read("gate_up_bias"), read("down"), read("down_bias")),
    )


def split_rows(fused: Linear, config: Config) -> tuple[Linear, Linear, Linear]:
    """Query, key and value as views of the rows of one fused map, in this order."""
    query = config.num_attention_heads * config.head_dim
    key = query + config.num_key_value_heads * config.head_dim
    rows = slice(query), slice(query, key), slice(key, None)
    return tuple(Linear(fused.weight[part], fused.bias[part]) for part in rows)
