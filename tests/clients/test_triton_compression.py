"""Compressed calls and answers, as NVIDIA's clients send and ask for them."""

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from common import ROWS, assert_same, names_input, service
from tritonclient.utils import InferenceServerException

ALGORITHMS = ["gzip", "deflate"]
# Large and plain enough that compressing it is worth it.
LARGE = np.zeros((64, 1024), np.float32)


@pytest.fixture(scope="module")
def http(http_address):
    with triton_http.InferenceServerClient(http_address) as client:
        yield client


@pytest.fixture(scope="module")
def rpc(grpc_address):
    with triton_grpc.InferenceServerClient(grpc_address) as client:
        yield client


def tensor(triton, datatype, array):
    return triton.InferInput("x", list(array.shape), datatype).set_data_from_numpy(array)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_compressed_http_requests_are_read(http, datatype, algorithm):
    given = [tensor(triton_http, datatype, ROWS[datatype])]
    result = http.infer(service(datatype), given, request_compression_algorithm=algorithm)
    assert_same(datatype, ROWS[datatype], result.as_numpy("y"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_http_answers_are_compressed_when_asked_for(http, algorithm, binary):
    given = [tensor(triton_http, "FP32", LARGE)]
    result = http.infer(
        "identity-fp32",
        given,
        outputs=[triton_http.InferRequestedOutput("y", binary_data=binary)],
        response_compression_algorithm=algorithm,
    )
    assert_same("FP32", LARGE, result.as_numpy("y"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_http_both_ways(http, algorithm):
    result = http.infer(
        "identity-fp32",
        [tensor(triton_http, "FP32", LARGE)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert_same("FP32", LARGE, result.as_numpy("y"))


def test_errors_of_compressed_http_requests_are_readable(http):
    given = tensor(triton_http, "FP32", ROWS["FP32"]).set_shape([2, 4])
    with pytest.raises(InferenceServerException) as raised:
        http.infer("identity-fp32", [given], request_compression_algorithm="gzip")
    assert raised.value.status() == "400"
    assert names_input(raised.value.message())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("array", [ROWS["FP32"], LARGE], ids=["small", "large"])
def test_compressed_grpc_calls_are_read(rpc, algorithm, array):
    result = rpc.infer("identity-fp32", [tensor(triton_grpc, "FP32", array)], compression_algorithm=algorithm)
    assert_same("FP32", array, result.as_numpy("y"))


def test_a_channel_that_compresses_can_ask_everything(grpc_address):
    options = [("grpc.default_compression_algorithm", grpc.Compression.Gzip.value)]
    with triton_grpc.InferenceServerClient(grpc_address, channel_args=options) as client:
        assert client.is_server_ready()
        assert client.get_model_metadata("identity-fp32").name == "identity-fp32"
        result = client.infer("identity-fp32", [tensor(triton_grpc, "FP32", LARGE)])
        assert_same("FP32", LARGE, result.as_numpy("y"))
