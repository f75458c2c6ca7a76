"""OpenAI's client to llama.cpp's server, whole and streamed."""

import openai
import pytest

MODEL = "smollm2"
ASKED = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(params=["/v1", "/openai/v1"])
def client(request, base_url):
    with openai.OpenAI(base_url=base_url + request.param, api_key="none", max_retries=0, timeout=60) as client:
        yield client


def text(client, **options):
    return client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=8, temperature=0, **options)


def test_a_whole_answer(client):
    answer = text(client)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens <= 8


def test_a_streamed_answer_is_the_whole_one_in_pieces(client):
    whole = text(client).choices[0].message.content
    pieces = [chunk.choices[0].delta.content or "" for chunk in text(client, stream=True) if chunk.choices]
    assert len([piece for piece in pieces if piece]) > 1
    assert "".join(pieces) == whole


def test_a_stream_that_is_left_frees_its_slot(client):
    for _ in range(4):
        with client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=400, stream=True) as stream:
            next(iter(stream))
    assert text(client).choices[0].message.content


def test_completions(client):
    answer = client.completions.create(model=MODEL, prompt="Once upon a", max_tokens=4, temperature=0)
    assert answer.choices[0].text


def test_the_model_is_listed(client):
    assert MODEL in [model.id for model in client.models.list().data]


def test_the_servers_own_refusal_is_passed_on(client):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages="none")
