"""Make the reference logits anew, with transformers in true float64 (needs the extra ``parity``).

python -m tests.reference.make
"""

import tempfile
from pathlib import Path

import numpy as np

from tests.parity import transformers_float64
from tests.reference.cases import CASES, checksum, make

FOLDER = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        for name in CASES:
            folder, ids = make(name, Path(temporary))
            logits = transformers_float64.logits(folder, ids)
            np.savez_compressed(FOLDER / f"{name}.npz", tokens=ids, logits=logits, checksum=checksum(folder))
            print(f"{name:24} {logits.shape}")


if __name__ == "__main__":
    main()
