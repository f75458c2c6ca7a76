#!/usr/bin/env python3
"""Makes models/zoo/digits/ and digits-v2/: two classifiers of handwritten digits, and held-out images to try them with.

    X FP32 [batch, 64] -> label INT64 [batch], probabilities FP32 [batch, 10]

An image is 8 by 8 pixels of 0 (paper) to 16 (ink), row by row; the images are those that come with scikit-learn. The
second classifier is larger and learned from another start. It reads a little better, and its probabilities differ, so that
answers tell which of them gave them. The results are kept in the repository, so this needs to run only to change them:

    python3 -m venv build/train && build/train/bin/pip install -r scripts/requirements-train.txt
    build/train/bin/python models/make/digits.py
"""

import json

import numpy as np
from graph import IR_VERSION, OPSET, ROOT, replace
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SPLIT_SEED = 7
SAMPLES = 20
# Folder -> layers of hidden units, and where learning starts.
VERSIONS = {"digits": ((64,), 7), "digits-v2": ((96,), 3)}


def save(folder, classifier):
    model = to_onnx(
        classifier,
        initial_types=[("X", FloatTensorType([None, 64]))],
        options={"zipmap": False},
        target_opset={"": OPSET, "ai.onnx.ml": 3},
    )
    model.ir_version = IR_VERSION
    model.graph.name = folder.name
    model.doc_string = ""
    for tensor in [*model.graph.input, *model.graph.output]:
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    folder.mkdir(parents=True, exist_ok=True)
    path = replace(folder / "model.onnx", model.SerializeToString())
    print(f"{path} ({path.stat().st_size / 1e3:.1f} KB)")


def main():
    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images.astype(np.float32), labels, test_size=0.25, random_state=SPLIT_SEED, stratify=labels
    )
    # Two of each digit, the first in the held-out part.
    chosen = [index for digit in range(10) for index in np.flatnonzero(test_y == digit)[: SAMPLES // 10]]
    zoo = ROOT / "models" / "zoo"
    for name, (layers, seed) in VERSIONS.items():
        classifier = make_pipeline(StandardScaler(), MLPClassifier(layers, max_iter=400, random_state=seed))
        classifier.fit(train_x, train_y)
        save(zoo / name, classifier)
        right = int((classifier.predict(test_x[chosen]) == test_y[chosen]).sum())
        print(f"  accuracy on {len(test_y)} held-out images: {classifier.score(test_x, test_y):.3f}")
        print(f"  {right} of the {SAMPLES} samples are read right")

    samples = [{"label": int(test_y[index]), "pixels": [int(pixel) for pixel in test_x[index]]} for index in chosen]
    lines = ",\n".join(json.dumps(sample, separators=(",", ":")) for sample in samples)
    replace(zoo / "digits" / "samples.json", f"[\n{lines}\n]\n".encode())


if __name__ == "__main__":
    main()
