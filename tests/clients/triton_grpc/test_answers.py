"""Health, metadata, tensors of every datatype, statistics, and models that people use."""

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from calls import CONTENTS, INVALID, WAIT, echo, raw_request, refused, refused_raw, tensor, two_io_inputs, typed_request
from common import (
    BF16,
    NOT_UTF8,
    ROWS,
    SENTENCES,
    WITH_NUL,
    Embedder,
    assert_digits,
    assert_same,
    digit_samples,
    names_input,
    service,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.utils import InferenceServerException


# Health and metadata


def test_server_is_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()


def test_server_metadata(client):
    metadata = client.get_server_metadata()
    assert metadata.name == "weirgate"
    assert metadata.version


def test_model_readiness(client):
    assert client.is_model_ready("identity-fp32")
    try:
        assert not client.is_model_ready("no-such-service")
    except InferenceServerException as error:
        assert error.status() == "StatusCode.NOT_FOUND"


@pytest.mark.parametrize("datatype", sorted(ROWS))
def test_model_metadata(client, datatype):
    metadata = client.get_model_metadata(service(datatype))
    assert metadata.name == service(datatype)
    assert metadata.platform == "onnxruntime_onnx"
    for tensors, name in ((metadata.inputs, "x"), (metadata.outputs, "y")):
        (told,) = tensors
        assert (told.name, told.datatype, list(told.shape)) == (name, datatype, [-1, -1])


def test_metadata_of_an_unknown_service(client):
    message = refused("StatusCode.NOT_FOUND", client.get_model_metadata, "no-such-service")
    assert "no-such-service" in message


def test_the_standard_health_service(channel):
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    refused_raw(grpc.StatusCode.NOT_FOUND, health.Check, health_pb2.HealthCheckRequest(service="no.such.Service"))


def test_health_of_one_service(channel):
    request = health_pb2.HealthCheckRequest(service="identity-fp32")
    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=WAIT)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


# Every datatype, raw and typed


@pytest.mark.parametrize("datatype", sorted(ROWS))
def test_raw_rows_come_back_as_they_were_sent(client, datatype):
    assert_same(datatype, ROWS[datatype], echo(client, datatype, ROWS[datatype]).as_numpy("y"))


@pytest.mark.parametrize("datatype", sorted(ROWS))
def test_one_row(client, datatype):
    row = ROWS[datatype][:1]
    assert_same(datatype, row, echo(client, datatype, row).as_numpy("y"))


@pytest.mark.parametrize("datatype", sorted(CONTENTS))
def test_typed_rows_come_back_typed(stub, datatype):
    rows = ROWS[datatype]
    answer = stub.ModelInfer(typed_request(datatype, rows), timeout=WAIT)
    assert answer.id == "typed"
    assert not answer.raw_output_contents
    (output,) = answer.outputs
    assert (output.name, output.datatype, tuple(output.shape)) == ("y", datatype, rows.shape)
    fields = {field.name for field, _ in output.contents.ListFields()}
    assert fields == {CONTENTS[datatype]}
    values = list(getattr(output.contents, CONTENTS[datatype]))
    dtype = object if datatype == "BYTES" else rows.dtype
    assert_same(datatype, rows, np.array(values, dtype).reshape(rows.shape))


@pytest.mark.parametrize("datatype", sorted(CONTENTS))
def test_every_raw_answer_is_raw(stub, datatype):
    rows = ROWS[datatype]
    if datatype == "BYTES":
        items = [value.encode() for value in rows.ravel()]
        data = b"".join(len(item).to_bytes(4, "little") + item for item in items)
    else:
        data = rows.tobytes()
    answer = stub.ModelInfer(raw_request(service(datatype), datatype, rows.shape, [data]), timeout=WAIT)
    assert list(answer.raw_output_contents) == [data]
    assert not answer.outputs[0].HasField("contents")


def test_bf16_rows_come_back_as_they_were_sent(client):
    assert_same("BF16", BF16, echo(client, "BF16", BF16).as_numpy("y"))


def test_nan_and_infinity_pass(client, stub):
    rows = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    assert_same("FP32", rows, echo(client, "FP32", rows).as_numpy("y"))
    answer = stub.ModelInfer(typed_request("FP32", rows), timeout=WAIT)
    np.testing.assert_array_equal(answer.outputs[0].contents.fp32_contents, rows[0])


def test_text_that_is_not_utf8_is_refused_by_name(client):
    assert names_input(refused(INVALID, echo, client, "BYTES", NOT_UTF8))


def test_text_with_a_nul_is_whole_or_refused(client):
    try:
        got = echo(client, "BYTES", WITH_NUL).as_numpy("y")
    except InferenceServerException as error:
        assert error.status() == INVALID
        assert names_input(error.message()), error.message()
    else:
        assert_same("BYTES", WITH_NUL, got)


# Ids, outputs


def test_request_id_is_echoed(client):
    assert echo(client, "FP32", ROWS["FP32"], request_id="call-7 ü").get_response().id == "call-7 ü"


def test_without_outputs_named_every_output_comes(client):
    a, b, ids, inputs = two_io_inputs()
    result = client.infer("two-io", inputs)
    np.testing.assert_array_equal(result.as_numpy("sum"), a + b)
    np.testing.assert_array_equal(result.as_numpy("diff"), a - b)
    np.testing.assert_array_equal(result.as_numpy("echo"), ids)


def test_outputs_come_in_the_order_asked(client):
    a, b, ids, inputs = two_io_inputs()
    outputs = [triton.InferRequestedOutput(name) for name in ("echo", "sum")]
    result = client.infer("two-io", inputs, outputs=outputs)
    assert [output.name for output in result.get_response().outputs] == ["echo", "sum"]
    np.testing.assert_array_equal(result.as_numpy("echo"), ids)
    np.testing.assert_array_equal(result.as_numpy("sum"), a + b)


# Statistics and configuration


def test_statistics_count_the_calls(client):
    def counts():
        (statistics,) = client.get_inference_statistics("identity-int16").model_stats
        assert statistics.name == "identity-int16"
        return statistics.inference_count, statistics.inference_stats.success.count

    rows, calls = counts()
    echo(client, "INT16", ROWS["INT16"])
    rows_after, calls_after = counts()
    # Other suites may use the model at the same time.
    assert rows_after >= rows + len(ROWS["INT16"])
    assert calls_after >= calls + 1


def test_model_configuration(client):
    config = client.get_model_config("two-io").config
    assert config.name == "two-io"
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [("a", [3]), ("b", [3]), ("id", [1])]
    assert [tensor.name for tensor in config.output] == ["sum", "diff", "echo"]


def test_configuration_of_an_unknown_service(client):
    refused("StatusCode.NOT_FOUND", client.get_model_config, "no-such-service")


def test_shared_memory_is_refused_and_says_what_to_do(client):
    message = refused("StatusCode.UNIMPLEMENTED", client.get_system_shared_memory_status)
    assert "not supported" in message


# Real models


def test_digits(client):
    images, labels = digit_samples()
    result = client.infer("digits", [tensor("X", "FP32", images)])
    assert_digits(labels, result.as_numpy("label"), result.as_numpy("probabilities"))


def test_minilm_equals_onnxruntime(client, minilm):
    embedder = Embedder(minilm)
    inputs = [tensor(name, "INT64", array) for name, array in embedder.inputs(SENTENCES).items()]
    got = client.infer("minilm", inputs).as_numpy("sentence_embedding")
    np.testing.assert_allclose(got, embedder.embed(SENTENCES), atol=1e-5)
