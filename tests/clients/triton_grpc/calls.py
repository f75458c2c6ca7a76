"""Calls by NVIDIA's client for gRPC, and messages made by hand where it can't make them."""

import queue

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from common import service
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

CALLERS = 64
WAIT = 60

INVALID = "StatusCode.INVALID_ARGUMENT"

# The field of InferTensorContents that carries each datatype; FP16 has none.
CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def tensor(name, datatype, array):
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array)


def echo(client, datatype, array, **options):
    return client.infer(service(datatype), [tensor("x", datatype, array)], **options)


def two_io_inputs(rows=2):
    a = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    b = np.full((rows, 3), 0.5, np.float32)
    ids = np.arange(100, 100 + rows, dtype=np.int64).reshape(rows, 1)
    return a, b, ids, [tensor("b", "FP32", b), tensor("id", "INT64", ids), tensor("a", "FP32", a)]


def refused(status, call, *arguments, **options):
    """The text of the refusal, which must come with this status."""
    with pytest.raises(InferenceServerException) as raised:
        call(*arguments, **options)
    assert raised.value.status() == status, raised.value
    assert raised.value.message()
    return raised.value.message()


def refused_raw(code, call, *arguments):
    """The same for a call through the bare stub."""
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments, timeout=WAIT)
    assert raised.value.code() == code, raised.value
    assert raised.value.details()
    return raised.value.details()


class Concurrent:
    """Calls in flight together; answers are taken in the order of sending."""

    def __init__(self, client):
        self.client = client
        self.waiting = []

    def send(self, *arguments, **options):
        answer = queue.Queue(1)
        self.client.async_infer(*arguments, callback=lambda result, error: answer.put((result, error)), **options)
        self.waiting.append(answer)

    def answers(self):
        return [answer.get(timeout=WAIT) for answer in self.waiting]


def typed_request(datatype, array, model=None):
    """A request whose data is in the typed field of its datatype."""
    request = service_pb2.ModelInferRequest(model_name=model or service(datatype), id="typed")
    item = request.inputs.add(name="x", datatype=datatype, shape=array.shape)
    values = [value.encode() if isinstance(value, str) else value for value in array.ravel().tolist()]
    getattr(item.contents, CONTENTS[datatype]).extend(values)
    return request


def raw_request(model="identity-fp32", datatype="FP32", shape=(1, 2), raw=(b"\0" * 8,)):
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype=datatype, shape=shape)
    request.raw_input_contents.extend(raw)
    return request
