"""Wrong calls are refused by name, alone."""

import grpc
import numpy as np
import tritonclient.grpc as triton
from calls import INVALID, Concurrent, raw_request, refused, refused_raw, tensor
from common import ROWS, names_input
from tritonclient.grpc import service_pb2


def test_unknown_service_is_not_found(client):
    inputs = [tensor("x", "FP32", ROWS["FP32"])]
    assert "no-such-service" in refused("StatusCode.NOT_FOUND", client.infer, "no-such-service", inputs)


def test_wrong_shapes_are_refused(client):
    for shape in ([-1, 3], [2, 4], [2**62, 2**62], [6]):
        given = tensor("x", "FP32", ROWS["FP32"]).set_shape(shape)
        assert names_input(refused(INVALID, client.infer, "identity-fp32", [given])), shape


def test_shape_the_model_does_not_take_is_refused(client):
    wide = np.zeros((1, 4), np.float32)
    inputs = [tensor("a", "FP32", wide), tensor("b", "FP32", wide), tensor("id", "INT64", np.zeros((1, 1), np.int64))]
    assert "'a'" in refused(INVALID, client.infer, "two-io", inputs)


def test_rows_that_disagree_are_refused(client):
    inputs = [
        tensor("a", "FP32", np.zeros((2, 3), np.float32)),
        tensor("b", "FP32", np.zeros((3, 3), np.float32)),
        tensor("id", "INT64", np.zeros((2, 1), np.int64)),
    ]
    assert "'b'" in refused(INVALID, client.infer, "two-io", inputs)


def test_wrong_datatype_is_refused(client):
    message = refused(INVALID, client.infer, "identity-fp32", [tensor("x", "INT64", ROWS["INT64"])])
    assert names_input(message) and "FP32" in message


def test_unknown_missing_and_repeated_inputs_are_refused(client):
    rows = ROWS["FP32"]
    assert "'z'" in refused(INVALID, client.infer, "identity-fp32", [tensor("z", "FP32", rows)])
    assert "'b'" in refused(INVALID, client.infer, "two-io", [tensor("a", "FP32", rows)])
    assert "'x'" in refused(INVALID, client.infer, "identity-fp32", [tensor("x", "FP32", rows)] * 2)


def test_unknown_output_is_refused(client):
    inputs = [tensor("x", "FP32", ROWS["FP32"])]
    message = refused(INVALID, client.infer, "identity-fp32", inputs, outputs=[triton.InferRequestedOutput("nope")])
    assert "'nope'" in message


def test_raw_and_typed_data_together_are_refused(stub):
    request = raw_request()
    request.inputs[0].contents.fp32_contents.extend([1, 2])
    refused_raw(grpc.StatusCode.INVALID_ARGUMENT, stub.ModelInfer, request)


def test_raw_data_must_be_as_many_as_the_inputs(stub):
    refused_raw(grpc.StatusCode.INVALID_ARGUMENT, stub.ModelInfer, raw_request(raw=[b"\0" * 8, b"\0" * 8]))


def test_typed_data_in_the_wrong_field_is_refused(stub):
    request = service_pb2.ModelInferRequest(model_name="identity-fp32")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.int_contents.extend([1, 2])
    assert names_input(refused_raw(grpc.StatusCode.INVALID_ARGUMENT, stub.ModelInfer, request))


def test_a_typed_number_that_does_not_fit_is_refused(stub):
    request = service_pb2.ModelInferRequest(model_name="identity-uint8")
    request.inputs.add(name="x", datatype="UINT8", shape=[1, 1]).contents.uint_contents.append(256)
    assert names_input(refused_raw(grpc.StatusCode.INVALID_ARGUMENT, stub.ModelInfer, request))


def test_a_call_without_inputs_is_refused(stub):
    request = service_pb2.ModelInferRequest(model_name="identity-fp32")
    refused_raw(grpc.StatusCode.INVALID_ARGUMENT, stub.ModelInfer, request)


def test_a_wrong_call_fails_alone(client):
    """Good and bad ids in flight together: the model refuses the bad ones' values, and nobody else notices."""
    calls, sent = Concurrent(client), []
    for number in range(32):
        bad = number % 4 == 3
        ids = np.array([[number % 10, 99 if bad else 1]], np.int64)
        sent.append((bad, ids))
        calls.send("picky", [tensor("ids", "INT64", ids)])
    for (bad, ids), (result, error) in zip(sent, calls.answers()):
        if bad:
            assert error is not None and error.status() == INVALID, error
        else:
            assert error is None, error
            np.testing.assert_array_equal(result.as_numpy("y"), ids * 10.0)
