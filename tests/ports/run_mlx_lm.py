"""mlx-lm on a model folder: python run_mlx_lm.py FOLDER TOKENS.json OUT.npz"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_model

folder, tokens, out = sys.argv[1:]
ids = json.loads(Path(tokens).read_text(encoding="utf-8"))
mx.set_default_device(mx.cpu)
model, _ = load_model(Path(folder))
model.set_dtype(mx.float32)
np.savez(out, tokens=ids, logits=np.array(model(mx.array([ids]))[0]))
