"""KServe's REST client: V1 and V2."""

import httpx
import numpy as np
import pytest
from common import ROWS, assert_digits, assert_same, digit_samples, service
from kserve_clients import InferenceRESTClient, InferRequest, RequestedOutput, RESTConfig, run, tensor

# KServe's client has no FP16 in JSON.
JSON_DATATYPES = sorted(ROWS.keys() - {"FP16"})


def call(protocol, use):
    return run(lambda: InferenceRESTClient(RESTConfig(protocol=protocol)), use)


def refused(status, protocol, use):
    """The text of the refusal, as the client shows it."""
    with pytest.raises(httpx.HTTPStatusError) as raised:
        call(protocol, use)
    assert raised.value.response.status_code == status, raised.value
    return raised.value.response.json()["error"]


# Health


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_server_is_live(base_url, protocol):
    assert call(protocol, lambda client: client.is_server_live(base_url)) is True


def test_server_is_ready(base_url):
    assert call("v2", lambda client: client.is_server_ready(base_url)) is True


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_model_readiness(base_url, protocol):
    assert call(protocol, lambda client: client.is_model_ready(base_url, "identity-fp32")) is True


def test_readiness_of_an_unknown_model(base_url):
    assert "no-such-service" in refused(404, "v1", lambda client: client.is_model_ready(base_url, "no-such-service"))
    assert call("v2", lambda client: client.is_model_ready(base_url, "no-such-service")) is False


# V1


def predict(base_url, model, body):
    return call("v1", lambda client: client.infer(base_url, body, model_name=model))


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "INT64", "UINT64", "FP64"])
def test_v1_rows_come_back_as_they_were_sent(base_url, datatype):
    rows = ROWS[datatype].tolist()
    assert predict(base_url, service(datatype), {"instances": rows}) == {"predictions": rows}


def test_v1_text_comes_back_as_it_was_sent(base_url):
    rows = ROWS["BYTES"].tolist()
    assert predict(base_url, "identity-bytes", {"instances": rows})["predictions"] == rows


def test_v1_models_of_several_inputs_take_them_by_name(base_url):
    instances = [{"a": [1, 2, 3], "b": [0.5, 0.5, 0.5], "id": [7]}, {"a": [4, 5, 6], "b": [1, 1, 1], "id": [8]}]
    first, second = predict(base_url, "two-io", {"instances": instances})["predictions"]
    assert first == {"sum": [1.5, 2.5, 3.5], "diff": [0.5, 1.5, 2.5], "echo": [7]}
    assert second == {"sum": [5, 6, 7], "diff": [3, 4, 5], "echo": [8]}


def test_v1_columns(base_url):
    assert predict(base_url, "add-1", {"inputs": [[1, 2], [3, 4]]})["predictions"] == [[2, 3], [4, 5]]


def test_v1_digits(base_url):
    images, labels = digit_samples()
    predictions = predict(base_url, "digits", {"instances": images.tolist()})["predictions"]
    got = np.array([row["label"] for row in predictions])
    assert_digits(labels, got, np.array([row["probabilities"] for row in predictions]))


@pytest.mark.parametrize("body", [{}, {"instances": 1}, {"instances": []}, {"instances": [[1], [1, 2]]}])
def test_v1_wrong_bodies_are_refused(base_url, body):
    assert refused(400, "v1", lambda client: client.infer(base_url, body, model_name="identity-fp32"))


def test_v1_unknown_model(base_url):
    body = {"instances": [[1]]}
    text = refused(404, "v1", lambda client: client.infer(base_url, body, model_name="no-such-service"))
    assert "no-such-service" in text


def test_v1_explain_is_not_built_and_says_so(base_url):
    body = {"instances": [[1]]}
    text = refused(501, "v1", lambda client: client.explain(base_url, "identity-fp32", body))
    assert "explain" in text


# V2


def infer(base_url, model, inputs, outputs=None, headers=None, **options):
    outputs = [RequestedOutput(name, {"binary_data": binary}) for name, binary in outputs or []]
    request = InferRequest(model, inputs, request_outputs=outputs, **options)
    return call("v2", lambda client: client.infer(base_url, request, model_name=model, headers=headers))


@pytest.mark.parametrize("datatype", JSON_DATATYPES)
def test_v2_json_rows_come_back_as_they_were_sent(base_url, datatype):
    answer = infer(base_url, service(datatype), [tensor("x", datatype, ROWS[datatype], binary=False)])
    assert_same(datatype, ROWS[datatype], answer.get_output_by_name("y").as_numpy())


@pytest.mark.parametrize("datatype", sorted(ROWS))
def test_v2_binary_rows_come_back_as_they_were_sent(base_url, datatype):
    answer = infer(base_url, service(datatype), [tensor("x", datatype, ROWS[datatype])], outputs=[("y", True)])
    assert_same(datatype, ROWS[datatype], answer.get_output_by_name("y").as_numpy())


def test_v2_ids_and_chosen_outputs(base_url):
    a = np.ones((2, 3), np.float32)
    inputs = [tensor("a", "FP32", a), tensor("b", "FP32", a), tensor("id", "INT64", np.array([[1], [2]]))]
    answer = infer(base_url, "two-io", inputs, outputs=[("sum", False)], request_id="call-7")
    assert answer.id == "call-7"
    assert [output.name for output in answer.outputs] == ["sum"]
    np.testing.assert_array_equal(answer.outputs[0].as_numpy(), a + a)


def test_v2_all_outputs_in_binary(base_url):
    x = [tensor("x", "FP32", ROWS["FP32"])]
    answer = infer(base_url, "identity-fp32", x, parameters={"binary_data_output": True})
    assert_same("FP32", ROWS["FP32"], answer.get_output_by_name("y").as_numpy())


def test_v2_refusals_show_the_servers_text(base_url):
    wrong = tensor("x", "INT64", ROWS["INT64"])
    request = InferRequest("identity-fp32", [wrong])
    text = refused(400, "v2", lambda client: client.infer(base_url, request, model_name="identity-fp32"))
    assert "FP32" in text and "'x'" in text
