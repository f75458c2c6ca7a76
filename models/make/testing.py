#!/usr/bin/env python3
"""Makes the small models that the tests serve, one folder each under build/models/testing/.

| folder         | input                                 | output                                                  |
|----------------|---------------------------------------|---------------------------------------------------------|
| identity       | x FP32 [batch, n]                     | y = x                                                   |
| identity_TYPE  | x TYPE [batch, n], for every datatype | y = x                                                   |
| add_1 to add_3 | x FP32 [batch, n]                     | y = x + 1 to y = x + 3: answers tell who gave them      |
| fixed          | x FP32 [2, 3]                         | y = 2 x; no dimension is dynamic, so it never batches   |
| two_io         | a, b FP32 [batch, 3], id INT64 [batch, 1] | sum = a + b, diff = a - b, echo = id                |
| slow           | x FP32 [batch, n]                     | y = x, after about 0.2 s on one core                    |
| slow_second    | x FP32 [batch, n]                     | y = x, after about 1.5 s on one core                    |
| picky          | ids INT64 [batch, n]                  | y FP32 = 10 ids; an id outside -10..9 fails the run     |
| reshape_fail   | x FP32 [batch, n]                     | y = x; a negative value fails the run                   |
| lying          | x FP32 [batch, n]                     | y FP32, said to be [batch, n], is the mean row: [1, n]  |
| broken         |                                       | not a model: its file can't be loaded                   |

The time of the slow models does not depend on the rows: a batch of ten takes as long as one row.
"""

import sys
import time

from graph import MODELS, ints, replace, save, value
from onnx import TensorProto, helper

FLOAT = TensorProto.FLOAT
INT64 = TensorProto.INT64

DATATYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "fp32": TensorProto.FLOAT,
    "fp64": TensorProto.DOUBLE,
    "bytes": TensorProto.STRING,
}

# Steps of the slow models' loop; a step takes some 4 microseconds, always on one core.
SLOW_STEPS = 45_000
SLOW_SECOND_STEPS = 330_000
# A product of this width stays below what ONNX Runtime splits among threads.
WIDTH = 32


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def rows(name, element, *dims):
    return value(name, element, ["batch", *dims])


def identity(folder, element):
    save(folder, [node("Identity", "x", "y")], [rows("x", element, "n")], [rows("y", element, "n")])


def add(folder, number):
    addend = helper.make_tensor("addend", FLOAT, [], [float(number)])
    save(folder, [node("Add", "x addend", "y")], [rows("x", FLOAT, "n")], [rows("y", FLOAT, "n")], [addend])


def fixed(folder):
    save(folder, [node("Add", "x x", "y")], [value("x", FLOAT, [2, 3])], [value("y", FLOAT, [2, 3])])


def two_io(folder):
    save(
        folder,
        [node("Add", "a b", "sum"), node("Sub", "a b", "diff"), node("Identity", "id", "echo")],
        [rows("a", FLOAT, 3), rows("b", FLOAT, 3), rows("id", INT64, 1)],
        [rows("sum", FLOAT, 3), rows("diff", FLOAT, 3), rows("echo", INT64, 1)],
    )


def slow(folder, steps):
    """Multiplies a square of zeros by itself for `steps` steps, and adds what comes out to x.

    The zeros are computed from the input's shape, so that nothing can be computed at load.
    """
    state = ["state", "state_out"]
    body = helper.make_graph(
        [node("Identity", "go", "go_out"), node("MatMul", "state state", "state_out")],
        "step",
        [value("step", INT64, []), value("go", TensorProto.BOOL, []), value(state[0], FLOAT, [WIDTH, WIDTH])],
        [value("go_out", TensorProto.BOOL, []), value(state[1], FLOAT, [WIDTH, WIDTH])],
    )
    save(
        folder,
        [
            node("Size", "x", "size"),
            node("Sub", "size size", "nought"),
            node("Cast", "nought", "nought_float", to=FLOAT),
            node("Expand", "nought_float square", "zeros"),
            node("Loop", "steps go zeros", "end", body=body),
            node("ReduceSum", "end", "rest", keepdims=0),
            node("Add", "x rest", "y"),
        ],
        [rows("x", FLOAT, "n")],
        [rows("y", FLOAT, "n")],
        [
            ints("steps", steps),
            ints("square", [WIDTH, WIDTH]),
            helper.make_tensor("go", TensorProto.BOOL, [], [True]),
        ],
    )


def picky(folder):
    table = helper.make_tensor("table", FLOAT, [10], [10.0 * row for row in range(10)])
    save(folder, [node("Gather", "table ids", "y")], [rows("ids", INT64, "n")], [rows("y", FLOAT, "n")], [table])


def reshape_fail(folder):
    """A negative value asks Reshape for one row more than there is."""
    save(
        folder,
        [
            node("Less", "x zero", "negative"),
            node("Cast", "negative", "negative_int", to=INT64),
            node("ReduceMax", "negative_int", "any", keepdims=0),
            node("Shape", "x", "shape"),
            node("Mul", "any one_row", "more"),
            node("Add", "shape more", "target"),
            node("Reshape", "x target", "y"),
        ],
        [rows("x", FLOAT, "n")],
        [rows("y", FLOAT, "n")],
        [helper.make_tensor("zero", FLOAT, [], [0.0]), ints("one_row", [1, 0])],
    )


def lying(folder):
    """The axis comes from the input's shape, so that no one finds the lie at load."""
    save(
        folder,
        [
            node("Shape", "x", "rows", end=1),
            node("Sub", "rows rows", "axis"),
            node("ReduceMean", "x axis", "y", keepdims=1),
        ],
        [rows("x", FLOAT, "n")],
        [rows("y", FLOAT, "n")],
    )


def broken(folder):
    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / "model.onnx", b"this file is not a model\n")


def main():
    started = time.monotonic()
    folder = MODELS / "testing"
    identity(folder / "identity", FLOAT)
    for datatype, element in DATATYPES.items():
        identity(folder / f"identity_{datatype}", element)
    for number in (1, 2, 3):
        add(folder / f"add_{number}", number)
    fixed(folder / "fixed")
    two_io(folder / "two_io")
    slow(folder / "slow", SLOW_STEPS)
    slow(folder / "slow_second", SLOW_SECOND_STEPS)
    picky(folder / "picky")
    reshape_fail(folder / "reshape_fail")
    lying(folder / "lying")
    broken(folder / "broken")
    made = sum(1 for path in folder.iterdir() if path.is_dir())
    print(f"{made} test models are in place after {time.monotonic() - started:.1f} s: {folder}")


if __name__ == "__main__":
    sys.exit(main())
