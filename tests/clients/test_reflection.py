"""gRPC reflection: a client that knows no protocol buffers of ours lists, describes and calls what there is."""

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

INFERENCE = "inference.GRPCInferenceService"
WAIT = 60


@pytest.fixture(scope="module")
def channel(grpc_address):
    with grpc.insecure_channel(grpc_address) as channel:
        yield channel


@pytest.fixture(scope="module")
def database(channel):
    return ProtoReflectionDescriptorDatabase(channel)


@pytest.fixture(scope="module")
def pool(database):
    return DescriptorPool(database)


def test_services_are_listed(database):
    services = set(database.get_services())
    assert {INFERENCE, "grpc.health.v1.Health"} <= services
    assert any(service.startswith("grpc.reflection.") for service in services)


def test_the_inference_service_is_described(pool):
    methods = {method.name for method in pool.FindServiceByName(INFERENCE).methods}
    assert {"ModelInfer", "ModelStreamInfer", "ModelReady", "ModelConfig", "ModelStatistics"} <= methods
    tensor = pool.FindMessageTypeByName("inference.ModelInferRequest.InferInputTensor")
    assert {field.name: field.number for field in tensor.fields}["contents"] == 5


def test_the_health_service_is_described(pool):
    assert pool.FindServiceByName("grpc.health.v1.Health").methods_by_name["Check"]


def test_what_is_not_there_is_not_found(pool):
    # The client has an error of its own for an answer that says so, and this where the call ends with it.
    with pytest.raises((KeyError, grpc.RpcError)) as raised:
        pool.FindServiceByName("no.such.Service")
    assert "no.such.Service" in str(raised.value)


def test_a_call_made_of_descriptors_is_answered(channel, pool):
    method = pool.FindServiceByName(INFERENCE).methods_by_name["ModelReady"]
    request, response = (GetMessageClass(kind) for kind in (method.input_type, method.output_type))
    call = channel.unary_unary(
        f"/{INFERENCE}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    assert call(request(name="identity-fp32"), timeout=WAIT).ready is True
