"""Calls over a stream."""

import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
from calls import CALLERS, WAIT, tensor
from common import ROWS, assert_same, service


class Stream:
    """A client with a stream open, and its answers in the order they came."""

    def __init__(self, grpc_address):
        self.client = triton.InferenceServerClient(grpc_address)
        self.answers = queue.Queue()

    def __enter__(self):
        self.client.start_stream(callback=lambda result, error: self.answers.put((result, error)))
        return self

    def __exit__(self, *_):
        self.client.stop_stream(cancel_requests=True)
        self.client.close()

    def send(self, model, datatype, array, **options):
        self.client.async_stream_infer(model, [tensor("x", datatype, array)], **options)

    def answer(self):
        return self.answers.get(timeout=WAIT)


def test_a_stream_answers_every_call(grpc_address):
    with Stream(grpc_address) as stream:
        for number in range(CALLERS):
            rows = np.full((1 + number % 3, 5), number, np.float32)
            stream.send("identity-fp32", "FP32", rows, request_id=str(number))
        seen = set()
        for _ in range(CALLERS):
            result, error = stream.answer()
            assert error is None, error
            number = int(result.get_response().id)
            seen.add(number)
            assert_same("FP32", np.full((1 + number % 3, 5), number, np.float32), result.as_numpy("y"))
        assert seen == set(range(CALLERS))


@pytest.mark.parametrize("datatype", ["FP16", "BYTES"])
def test_a_stream_carries_raw_rows(grpc_address, datatype):
    with Stream(grpc_address) as stream:
        stream.send(service(datatype), datatype, ROWS[datatype])
        result, error = stream.answer()
        assert error is None, error
        assert_same(datatype, ROWS[datatype], result.as_numpy("y"))


def test_a_wrong_call_on_a_stream_fails_alone(grpc_address):
    with Stream(grpc_address) as stream:
        stream.send("no-such-service", "FP32", ROWS["FP32"], request_id="bad")
        result, error = stream.answer()
        assert result is None
        assert "no-such-service" in error.message()
        stream.send("identity-fp32", "FP32", ROWS["FP32"], request_id="good")
        result, error = stream.answer()
        assert error is None, error
        assert result.get_response().id == "good"
