"""The transformers implementation of gpt-oss, made from our config and weights, and its gradients under our names."""

import json

import numpy as np
import torch
from transformers import GptOssConfig, GptOssForCausalLM

import minioss
from minioss.checkpoint import layouts
from minioss.checkpoint.config_json import HUGGINGFACE, to_huggingface
from minioss.training.parameters import Arrays


def model_of(config: minioss.Config, masters: Arrays, experts: str = "eager"):
    """A model with these weights, of their type, ready to train."""
    content = json.loads(json.dumps(to_huggingface(config, mxfp4=False, special={})))
    theirs = GptOssConfig(**content, attn_implementation="eager", experts_implementation=experts)
    dtype = torch.from_numpy(masters["norm", None]).dtype
    model = GptOssForCausalLM(theirs).to(dtype).train()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for tensor in layouts.tensors(config, HUGGINGFACE, mxfp4=False):
            parameters[tensor.name].copy_(torch.from_numpy(_turned(masters[tensor.part, tensor.layer], tensor.part)))
    return model


def gradients(model, config: minioss.Config) -> dict[tuple[str, int | None], np.ndarray]:
    """What ``backward`` left in a model."""
    parameters = dict(model.named_parameters())
    return {
        (tensor.part, tensor.layer): _turned(parameters[tensor.name].grad.numpy(), tensor.part)
        for tensor in layouts.tensors(config, HUGGINGFACE, mxfp4=False)
    }


def balance_loss(router_logits: tuple[torch.Tensor, ...], active: int) -> torch.Tensor:
    """The mean over layers of the load-balancing loss, by its formula: transformers' own sums in float32."""
    losses = []
    for logits in router_logits:
        chosen = torch.nn.functional.one_hot(logits.topk(active, dim=-1).indices, logits.shape[-1])
        share = chosen.double().mean(dim=(0, 1)).to(logits.dtype)
        losses.append(logits.shape[-1] * (share * logits.softmax(dim=-1).mean(dim=0)).sum())
    return torch.stack(losses).mean()


def _turned(array: np.ndarray, part: str) -> np.ndarray:
    """The experts' matrices are transposed in transformers."""
    return array.swapaxes(1, 2) if part in layouts.DENSE else array
