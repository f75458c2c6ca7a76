"""The V2 protocol over gRPC, as NVIDIA's client speaks it: the client, and the bare stub."""

import grpc
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2_grpc


@pytest.fixture(scope="module")
def client(grpc_address):
    with triton.InferenceServerClient(grpc_address) as client:
        yield client


@pytest.fixture(scope="module")
def channel(grpc_address):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(grpc_address, options) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)
