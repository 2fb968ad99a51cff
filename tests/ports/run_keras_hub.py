"""keras-hub on a model folder: KERAS_BACKEND=torch python run_keras_hub.py FOLDER TOKENS.json OUT.npz"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
from keras_hub.models import GptOssBackbone

folder, tokens, out = sys.argv[1:]
ids = np.array([json.loads(Path(tokens).read_text(encoding="utf-8"))])
model = GptOssBackbone.from_preset(folder, dtype="float32")
hidden = model({"token_ids": ids, "padding_mask": np.ones_like(ids)})
logits = model.token_embedding(hidden, reverse=True)
np.savez(out, tokens=ids[0], logits=keras.ops.convert_to_numpy(logits)[0])
