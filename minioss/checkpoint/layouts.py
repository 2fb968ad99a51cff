"""The names and shapes of the tensors in the two official layouts.

Each table line is a *part* (our name for a weight), the tensor's name, and its shape in the
words of the config. ``{}`` stands for the layer. The original layout holds query, key and
value as rows of one tensor; otherwise the two differ in names alone, until experts are not
quantised: the Hugging Face layout then keeps them transposed, (experts, in, out).
"""

from collections.abc import Iterator
from typing import NamedTuple

from minioss.checkpoint.config_json import HUGGINGFACE, ORIGINAL
from minioss.config import Config

QUANTIZED = ("gate_up.blocks", "gate_up.scales", "down.blocks", "down.scales")
DENSE = ("gate_up", "down")

ONCE = {
    HUGGINGFACE: """
        embedding             model.embed_tokens.weight   vocab_size, hidden_size
        norm                  model.norm.weight           hidden_size
        unembedding           lm_head.weight              vocab_size, hidden_size
    """,
    ORIGINAL: """
        embedding             embedding.weight            vocab_size, hidden_size
        norm                  norm.scale                  hidden_size
        unembedding           unembedding.weight          vocab_size, hidden_size
    """,
}
EACH_LAYER = {
    HUGGINGFACE: """
        attention_norm        model.layers.{}.input_layernorm.weight                hidden_size
        query.weight          model.layers.{}.self_attn.q_proj.weight               query_rows, hidden_size
        query.bias            model.layers.{}.self_attn.q_proj.bias                 query_rows
        key.weight            model.layers.{}.self_attn.k_proj.weight               key_rows, hidden_size
        key.bias              model.layers.{}.self_attn.k_proj.bias                 key_rows
        value.weight          model.layers.{}.self_attn.v_proj.weight               key_rows, hidden_size
        value.bias            model.layers.{}.self_attn.v_proj.bias                 key_rows
        output.weight         model.layers.{}.self_attn.o_proj.weight               hidden_size, query_rows
        output.bias           model.layers.{}.self_attn.o_proj.bias                 hidden_size
        sinks                 model.layers.{}.self_attn.sinks                       num_attention_heads
        experts_norm          model.layers.{}.post_attention_layernorm.weight       hidden_size
        router.weight         model.layers.{}.mlp.router.weight                     num_local_experts, hidden_size
        router.bias           model.layers.{}.mlp.router.bias                       num_local_experts
        gate_up.blocks        model.layers.{}.mlp.experts.gate_up_proj_blocks       num_local_experts, gate_up_rows, hidden_blocks, 16
        gate_up.scales        model.layers.{}.mlp.experts.gate_up_proj_scales       num_local_experts, gate_up_rows, hidden_blocks
        gate_up               model.layers.{}.mlp.experts.gate_up_proj              num_local_experts, hidden_size, gate_up_rows
        gate_up_bias          model.layers.{}.mlp.experts.gate_up_proj_bias         num_local_experts, gate_up_rows
        down.blocks           model.layers.{}.mlp.experts.down_proj_blocks          num_local_experts, hidden_size, intermediate_blocks, 16
        down.scales           model.layers.{}.mlp.experts.down_proj_scales          num_local_experts, hidden_size, intermediate_blocks
        down                  model.layers.{}.mlp.experts.down_proj                 num_local_experts, intermediate_size, hidden_size
        down_bias             model.layers.{}.mlp.experts.down_proj_bias            num_local_experts, hidden_size
    """,
    ORIGINAL: """
        attention_norm        block.{}.attn.norm.scale                              hidden_size
        query_key_value.weight  block.{}.attn.qkv.weight                            query_key_value_rows, hidden_size
        query_key_value.bias  block.{}.attn.qkv.bias                                query_key_value_rows
        output.weight         block.{}.attn.out.weight                              hidden_size, query_rows
        output.bias           block.{}.attn.out.bias                                hidden_size
        sinks                 block.{}.attn.sinks                                   num_attention_heads
        experts_norm          block.{}.mlp.norm.scale                               hidden_size
        router.weight         block.{}.mlp.gate.weight                              num_local_experts, hidden_size
        router.bias           block.{}.mlp.gate.bias                                num_local_experts
        gate_up.blocks        block.{}.mlp.mlp1_weight.blocks                       num_local_experts, gate_up_rows, hidden_blocks, 16
        gate_up.scales        block.{}.mlp.mlp1_weight.scales                       num_local_experts, gate_up_rows, hidden_blocks
        gate_up               block.{}.mlp.mlp1_weight                              num_local_experts, gate_up_rows, hidden_size
        gate_up_bias          block.{}.mlp.mlp1_bias                                num_local_experts, gate_up_rows
        down.blocks           block.{}.mlp.mlp2_weight.blocks                       num_local_experts, hidden_size, intermediate_blocks, 16
        down.scales           block.{}.mlp.mlp2_weight.scales                       num_local_experts, hidden_size, intermediate_blocks
        down                  block.{}.mlp.mlp2_weight                              num_local_experts, hidden_size, intermediate_size
        down_bias             block.{}.mlp.mlp2_bias                                num_local_experts, hidden_size
    """,
}


class Tensor(NamedTuple):
    """A tensor that the layout asks for."""

    part: str
    layer: int | None
    name: str
    shape: tuple[int, ...]
    axes: str

    @property
    def is_bytes(self) -> bool:
        """Whether it is stored as uint8: MXFP4's blocks or scales."""
        return self.part in QUANTIZED


def tensors(config: Config, layout: str, mxfp4: bool) -> Iterator[Tensor]:
    """All tensors of a checkpoint, in a fixed order: embedding, layers, norm, unembedding."""
    embedding, *last = _rows(ONCE[layout])
    for part, name, axes in [embedding]:
        yield Tensor(part, None, name, shape(config, axes), axes)
    skipped = DENSE if mxfp4 else QUANTIZED
    rows = [row for row in _rows(EACH_LAYER[layout]) if row[0] not in skipped]
    for layer in range(config.num_hidden_layers):
        for part, name, axes in rows:
            yield Tensor(part, layer, name.format(layer), shape(config, axes), axes)
    for part, name, axes in last:
        yield Tensor(part, None, name, shape(config, axes), axes)


def name(layout: str, part: str, layer: int) -> str:
    """The name of one tensor of a layer."""
    return next(name for row, name, _ in _rows(EACH_LAYER[layout]) if row == part).format(layer)


def shape(config: Config, axes: str) -> tuple[int, ...]:
    """The numbers behind the names of axes.

    >>> from minioss.config import preset
    >>> shape(preset("20b"), "num_local_experts, gate_up_rows, hidden_blocks, 16")
    (32, 5760, 90, 16)
    """
    query = config.num_attention_heads * config.head_dim
    key = config.num_key_value_heads * config.head_dim
    sizes = {
        "query_rows": query,
        "key_rows": key,
        "query_key_value_rows": query + 2 * key,
        "gate_up_rows": 2 * config.intermediate_size,
        "hidden_blocks": config.hidden_size // 32,
        "intermediate_blocks": config.intermediate_size // 32,
        "16": 16,
    }
    return tuple(sizes[axis] if axis in sizes else getattr(config, axis) for axis in axes.split(", "))


def _rows(table: str) -> list[tuple[str, str, str]]:
    return [tuple(line.split(maxsplit=2)) for line in table.strip().splitlines()]
