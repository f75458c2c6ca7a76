"""V2 over HTTP with tritonclient: passed on to servers that speak it, translated for one that speaks gRPC only."""

import numpy as np
import pytest
import tritonclient.http as triton

X = np.array([[1.0, 2.0], [3.0, -4.5]], np.float32)


@pytest.fixture
def client(address):
    client = triton.InferenceServerClient(address, connection_timeout=60, network_timeout=60)
    yield client
    client.close()


# This client does not say that JSON is JSON, and both servers insist on it.
JSON = {"Content-Type": "application/json"}


# MLServer takes no tensors in binary over HTTP.
FORMS = [(model, False) for model in ("kserve-http", "mlserver-http", "kserve-grpc", "mlserver-grpc")]
FORMS += [(model, True) for model in ("kserve-http", "kserve-grpc", "mlserver-grpc")]


@pytest.mark.parametrize("model, binary", FORMS)
def test_numbers_are_doubled(client, model, binary):
    x = triton.InferInput("x", X.shape, "FP32").set_data_from_numpy(X, binary_data=binary)
    outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
    answer = client.infer(model, [x], outputs=outputs, request_id="seven", headers={} if binary else JSON)
    assert answer.get_response()["id"] == "seven"
    np.testing.assert_array_equal(answer.as_numpy("y"), 2 * X)


@pytest.mark.parametrize("model", ["kserve-http", "mlserver-http", "mlserver-grpc"])
def test_a_model_is_ready(client, model):
    assert client.is_model_ready(model)


def test_a_model_tells_its_tensors(client):
    for model in ("mlserver-http", "mlserver-grpc"):
        metadata = client.get_model_metadata(model)
        assert [tensor["name"] for tensor in metadata["inputs"]] == ["x"]
        assert [tensor["name"] for tensor in metadata["outputs"]] == ["y"]
