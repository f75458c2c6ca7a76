"""What the suites send and expect."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent


def numbers(dtype):
    """Two rows with the least, the greatest and some between."""
    info = np.iinfo(dtype)
    return np.array([[info.min, 0, 1], [info.max, 7, 100]], dtype)


# Two rows for each datatype, with the values where codecs go wrong.
ROWS = {
    "BOOL": np.array([[True, False, True], [False, False, True]]),
    "UINT8": numbers(np.uint8),
    "UINT16": numbers(np.uint16),
    "UINT32": numbers(np.uint32),
    "UINT64": numbers(np.uint64),
    "INT8": numbers(np.int8),
    "INT16": numbers(np.int16),
    "INT32": numbers(np.int32),
    "INT64": numbers(np.int64),
    "FP16": np.array([[0.0, -1.5, 65504.0], [6e-8, 0.333, -2048.0]], np.float16),
    "FP32": np.array([[0.0, -1.5, 3.4028235e38], [1e-45, 0.1, 16777217.0]], np.float32),
    "FP64": np.array([[0.0, -1.5, 1.7976931348623157e308], [5e-324, 0.1, 1 / 3]], np.float64),
    "BYTES": np.array([["", "plain", "zwölf €"], ["日本語 🌊", 'quo"te \\ slash', "line\nbreak\ttab"]], object),
}

# KServe's clients have no BF16, and NVIDIA's none of it in JSON.
BF16 = np.array([[0.0, -1.5, 3.3895314e38], [9.1835496e-41, 0.33398438, -2048.0]], ml_dtypes.bfloat16)

NOT_UTF8 = np.array([[b"\xff\xfe\x00\x01"]], object)
WITH_NUL = np.array([["before\0after"]], object)


def service(datatype):
    return f"identity-{datatype.lower()}"


def text(array):
    """BYTES come back as bytes objects; what was sent is text."""
    return np.array(
        [item.decode() if isinstance(item, bytes) else item for item in array.ravel()], object
    ).reshape(array.shape)


def assert_same(datatype, sent, got):
    assert got is not None, "the output is missing"
    assert got.shape == sent.shape
    if datatype == "BYTES":
        assert text(got).tolist() == text(sent).tolist()
    else:
        assert got.dtype == sent.dtype
        # Bit for bit: no number may change on its way.
        assert got.tobytes() == sent.tobytes()


def names_input(message, name="x", index=0):
    """Errors say which input is meant: by its name, or by its place in the body."""
    return f"'{name}'" in message or f"inputs[{index}]" in message


def digit_samples():
    samples = json.loads((ROOT / "models" / "zoo" / "digits" / "samples.json").read_text())
    images = np.array([sample["pixels"] for sample in samples], np.float32)
    labels = np.array([sample["label"] for sample in samples], np.int64)
    return images, labels


def assert_digits(labels, got_labels, got_probabilities):
    right = int((labels == got_labels).sum())
    assert right >= 18, f"only {right} of {len(labels)} digits were read right"
    assert got_probabilities.shape == (len(labels), 10)
    np.testing.assert_allclose(got_probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert (got_probabilities.argmax(axis=1) == got_labels).all()


SENTENCES = [
    "A man is eating food.",
    "Someone has a meal, and after that goes for a long walk along the river with two dogs.",
    "The price of copper rose by three percent.",
    "hi",
]


class Embedder:
    """The tokenizer, and the model run by ONNX Runtime directly: what the server's answers are compared with."""

    INPUTS = ("input_ids", "attention_mask", "token_type_ids")

    def __init__(self, folder):
        import onnxruntime
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)

    def inputs(self, sentences):
        encoded = self.tokenizer.encode_batch(sentences)
        fields = ("ids", "attention_mask", "type_ids")
        return {
            name: np.array([getattr(one, field) for one in encoded], np.int64)
            for name, field in zip(self.INPUTS, fields)
        }

    def embed(self, sentences):
        return self.session.run(None, self.inputs(sentences))[0]
