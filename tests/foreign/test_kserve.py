"""KServe's own clients, over REST and gRPC, to its own server behind the gateway."""

import asyncio

import numpy as np
import pytest
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig

X = np.array([[1.0, 2.0], [3.0, -4.5]], np.float32)


def request(model):
    x = InferInput(name="x", shape=list(X.shape), datatype="FP32")
    x.set_data_from_numpy(X, binary_data=False)
    return InferRequest(model_name=model, infer_inputs=[x], request_id="seven")


@pytest.mark.parametrize("model", ["kserve-http", "kserve-grpc", "mlserver-http", "untold-http", "untold-grpc"])
def test_rest(base_url, model):
    async def ask():
        client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))
        return await client.infer(base_url, request(model), model_name=model)

    answer = asyncio.run(ask())
    assert answer.id == "seven"
    np.testing.assert_array_equal(answer.outputs[0].as_numpy(), 2 * X)


@pytest.mark.parametrize("model", ["kserve-grpc", "kserve-http", "mlserver-grpc", "untold-grpc", "untold-http"])
def test_grpc(address, model):
    async def ask():
        client = InferenceGRPCClient(url=address, timeout=60)
        return await client.infer(request(model))

    answer = asyncio.run(ask())
    assert answer.id == "seven"
    np.testing.assert_array_equal(answer.outputs[0].as_numpy(), 2 * X)


def test_a_server_of_v1_alone(base_url):
    async def ask():
        client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))
        return await client.infer(base_url, request("sum"), model_name="sum")

    answer = asyncio.run(ask())
    assert answer.id == "seven"
    np.testing.assert_array_equal(answer.outputs[0].as_numpy(), X.sum(axis=1))
