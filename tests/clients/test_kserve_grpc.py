"""KServe's gRPC client."""

import grpc
import numpy as np
import pytest
from common import ROWS, assert_same, service
from kserve_clients import InferenceGRPCClient, InferRequest, RequestedOutput, run, tensor

# The typed fields have none for FP16.
TYPED = sorted(ROWS.keys() - {"FP16"})


def call(grpc_address, use):
    return run(lambda: InferenceGRPCClient(grpc_address), use)


def infer(grpc_address, model, inputs, **options):
    return call(grpc_address, lambda client: client.infer(InferRequest(model, inputs, **options)))


def refused(code, grpc_address, use):
    with pytest.raises(grpc.RpcError) as raised:
        call(grpc_address, use)
    assert raised.value.code() == code, raised.value
    return raised.value.details()


def test_health(grpc_address):
    assert call(grpc_address, lambda client: client.is_server_live()) is True
    assert call(grpc_address, lambda client: client.is_server_ready()) is True
    assert call(grpc_address, lambda client: client.is_model_ready("identity-fp32")) is True


def test_readiness_of_an_unknown_model(grpc_address):
    text = refused(
        grpc.StatusCode.NOT_FOUND, grpc_address, lambda client: client.is_model_ready("no-such-service")
    )
    assert "no-such-service" in text


@pytest.mark.parametrize("datatype", sorted(ROWS))
def test_raw_rows_come_back_as_they_were_sent(grpc_address, datatype):
    answer = infer(grpc_address, service(datatype), [tensor("x", datatype, ROWS[datatype])])
    assert_same(datatype, ROWS[datatype], answer.get_output_by_name("y").as_numpy())


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_rows_come_back_as_they_were_sent(grpc_address, datatype):
    answer = infer(grpc_address, service(datatype), [tensor("x", datatype, ROWS[datatype], binary=False)])
    assert_same(datatype, ROWS[datatype], answer.get_output_by_name("y").as_numpy())


def test_ids_and_chosen_outputs(grpc_address):
    a = np.ones((2, 3), np.float32)
    inputs = [tensor("a", "FP32", a), tensor("b", "FP32", a), tensor("id", "INT64", np.array([[1], [2]]))]
    answer = infer(
        grpc_address, "two-io", inputs, request_id="call-7", request_outputs=[RequestedOutput("diff")]
    )
    assert answer.id == "call-7"
    assert [output.name for output in answer.outputs] == ["diff"]
    np.testing.assert_array_equal(answer.outputs[0].as_numpy(), a - a)


def test_wrong_calls_are_refused(grpc_address):
    x = [tensor("x", "FP32", ROWS["FP32"])]
    text = refused(
        grpc.StatusCode.NOT_FOUND, grpc_address, lambda client: client.infer(InferRequest("no-such-service", x))
    )
    assert "no-such-service" in text
    text = refused(
        grpc.StatusCode.INVALID_ARGUMENT, grpc_address, lambda client: client.infer(InferRequest("identity-int64", x))
    )
    assert "INT64" in text and "'x'" in text
