"""V2 over gRPC with tritonclient: passed on to servers that speak it, translated for those that speak HTTP."""

import numpy as np
import pytest
import tritonclient.grpc as triton

X = np.array([[1.0, 2.0], [3.0, -4.5]], np.float32)


@pytest.fixture
def client(address):
    with triton.InferenceServerClient(address) as client:
        yield client


@pytest.mark.parametrize("model", ["kserve-grpc", "mlserver-grpc", "kserve-http", "mlserver-http"])
def test_numbers_are_doubled(client, model):
    x = triton.InferInput("x", X.shape, "FP32").set_data_from_numpy(X)
    answer = client.infer(model, [x], request_id="seven", client_timeout=60)
    assert answer.get_response().id == "seven"
    np.testing.assert_array_equal(answer.as_numpy("y"), 2 * X)


@pytest.mark.parametrize("model", ["kserve-grpc", "mlserver-grpc"])
def test_a_model_is_ready(client, model):
    assert client.is_model_ready(model)


def test_a_servers_refusal_keeps_its_code(client):
    x = triton.InferInput("x", [1, 2], "FP32").set_data_from_numpy(X[:1])
    with pytest.raises(triton.InferenceServerException) as refused:
        client.infer("nobody", [x], client_timeout=60)
    assert "NOT_FOUND" in refused.value.status()
