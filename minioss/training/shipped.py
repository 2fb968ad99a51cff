"""The format that ships, in the loop: what is released is what was trained.

The optimiser keeps float32 masters. The model runs on what a checkpoint would hold of them: MXFP4
for the two matrices of the experts, bfloat16 for all the rest. Rounding is flat almost everywhere,
so its derivative says nothing; the gradient at the rounded weight goes to the master as it is
(*straight-through*). Many small steps then move a master across the middle between two codes,
where one of them alone would be rounded away.

Source: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons" (2013),
section 4; Hubara et al., "Quantized Neural Networks" (2016), for masters.
"""

import numpy as np
from numpy.typing import NDArray

from minioss import mxfp4
from minioss.checkpoint.layouts import DENSE
from minioss.precision import to_bfloat16


def shipped(part: str, master: NDArray[np.float32]) -> NDArray[np.float32]:
    """The numbers that a checkpoint holds of one weight, named as in `parameters`."""
    return mxfp4.rounded(master) if part in DENSE else to_bfloat16(master)
