"""OpenAI's client: models are listed under both addresses, and text is asked of models that have none to give."""

import openai
import pytest


@pytest.fixture(params=["/v1", "/openai/v1"])
def client(request, base_url):
    with openai.OpenAI(base_url=base_url + request.param, api_key="none", max_retries=0, timeout=60) as client:
        yield client


def test_complaint_30_models_are_listed_under_both_addresses(client):
    models = client.models.list().data
    names = [model.id for model in models]
    assert {"identity-fp32", "digits"} <= set(names)
    assert names == sorted(names)
    assert all(model.object == "model" and model.created > 0 and model.owned_by for model in models)


def test_a_model_is_shown(client):
    model = client.models.retrieve("identity-fp32")
    assert (model.id, model.object) == ("identity-fp32", "model")


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("no-such-service")
    # Below /v1/models the refusal is V1's, whose text this client has in its body only.
    assert "no-such-service" in str(raised.value.body)


ASKED = {
    "chat": lambda client, model: client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hello"}]
    ),
    "chat-stream": lambda client, model: client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hello"}], stream=True
    ),
    "completions": lambda client, model: client.completions.create(model=model, prompt="hello"),
    "embeddings": lambda client, model: client.embeddings.create(model=model, input="hello"),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_complaint_31_text_asked_of_a_tensor_model_is_a_bad_request(client, asked):
    with pytest.raises(openai.BadRequestError) as raised:
        asked(client, "identity-fp32")
    error = raised.value
    assert "identity-fp32" in error.message and "/v2/models/identity-fp32/infer" in error.message
    assert (error.type, error.param) == ("invalid_request_error", "model")


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
def test_text_asked_of_an_unknown_model_is_not_found(client, asked):
    with pytest.raises(openai.NotFoundError) as raised:
        asked(client, "no-such-service")
    error = raised.value
    assert "no-such-service" in error.message
    assert (error.code, error.param) == ("model_not_found", "model")
