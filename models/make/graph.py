"""What the model makers share: building an ONNX file, and checking it before it is put in place."""

import os
from pathlib import Path

import onnx
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = Path(os.environ.get("WEIRGATE_MODELS", ROOT / "build" / "models"))

# Old enough for every ONNX Runtime that Weirgate accepts, new enough for Gelu (20) and LayerNormalization (17).
OPSET = 20
IR_VERSION = 9


def value(name, element, dims):
    """A graph input or output; a dimension is a number or a name."""
    return helper.make_tensor_value_info(name, element, dims)


def ints(name, values):
    """A constant of 64-bit integers: a scalar, or a list."""
    scalar = isinstance(values, int)
    return helper.make_tensor(name, TensorProto.INT64, [] if scalar else [len(values)], [values] if scalar else values)


def save(folder, nodes, inputs, outputs, constants=(), name=None):
    """Checks the graph and writes it as folder/model.onnx in one step. Returns the file's path."""
    folder = Path(folder)
    graph = helper.make_graph(nodes, name or folder.name, inputs, outputs, list(constants))
    model = helper.make_model(
        graph,
        producer_name="weirgate",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    return replace(folder / "model.onnx", model.SerializeToString())


def replace(path, data):
    """Writes a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)
    return path
