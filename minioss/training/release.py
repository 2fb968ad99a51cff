"""From what training has reached to a model folder: the official layout, with nothing rounded that was not before."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minioss import bfloat16, mxfp4
from minioss.checkpoint.layouts import QUANTIZED, Tensor
from minioss.checkpoint.writing import write_folder
from minioss.config import Config
from minioss.training.parameters import Name


def release(
    out: str | Path, masters: Mapping[Name, NDArray[np.float32]], config: Config, tokenizer: str | Path
) -> None:
    """Write the weights that the model was trained with: experts in MXFP4, everything else in bfloat16.

    Parameters
    ----------
    out : the folder to make; it must not exist
    masters : of all weights, as `checkpoint.State` has them
    config : the model's shape
    tokenizer : its tokenizer.json

    Raises
    ------
    InputError
        Where the folder exists, the disk is too small, or the tokenizer does not fit.
    """

    def chunks_of(tensor: Tensor) -> Iterator[NDArray]:
        part, _, kind = tensor.part.rpartition(".")
        if tensor.part in QUANTIZED:
            yield getattr(mxfp4.quantize(masters[part, tensor.layer]), kind)
        else:
            yield bfloat16.encode(masters[tensor.part, tensor.layer])

    write_folder(out, config, chunks_of, tokenizer=tokenizer)
