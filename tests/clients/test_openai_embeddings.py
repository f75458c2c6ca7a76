"""OpenAI's client against an embedder that the gateway runs itself: MiniLM, served as `vectors`."""

import base64
import struct

import openai
import pytest

TEXTS = ["The cat sleeps.", "A cat is asleep.", "Stock prices fell.", "naïve café ☕"]


@pytest.fixture(scope="module")
def client(base_url):
    with openai.OpenAI(base_url=base_url + "/v1", api_key="none", max_retries=0, timeout=50) as client:
        yield client


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_vectors_come_in_the_order_of_the_texts(client):
    together = client.embeddings.create(model="vectors", input=TEXTS)
    assert together.model == "vectors"
    assert [each.index for each in together.data] == list(range(len(TEXTS)))
    assert together.usage.prompt_tokens == together.usage.total_tokens > 0
    for text, each in zip(TEXTS, together.data, strict=True):
        alone = client.embeddings.create(model="vectors", input=text).data[0].embedding
        assert len(alone) == 384
        assert cosine(alone, each.embedding) > 0.99999
    first, second, third, _ = (each.embedding for each in together.data)
    assert cosine(first, second) > cosine(first, third) + 0.3


def test_both_encodings_are_the_same_numbers(client):
    # The client asks for base64 of its own accord, and unpacks it.
    unpacked = client.embeddings.create(model="vectors", input="a cat").data[0].embedding
    numbers = client.embeddings.create(model="vectors", input="a cat", encoding_format="float").data[0].embedding
    packed = client.embeddings.with_raw_response.create(model="vectors", input="a cat", encoding_format="base64")
    raw = packed.http_response.json()["data"][0]["embedding"]
    from_raw = struct.unpack("<384f", base64.b64decode(raw))
    assert numbers == pytest.approx(unpacked, abs=1e-6)
    assert list(from_raw) == pytest.approx(unpacked, abs=1e-6)


def test_tokens_in_place_of_a_text_give_its_vector(client):
    text = client.embeddings.create(model="vectors", input="hello world").data[0].embedding
    tokens = client.embeddings.create(model="vectors", input=[101, 7592, 2088, 102]).data[0].embedding
    several = client.embeddings.create(model="vectors", input=[[101, 7592, 2088, 102], [101, 102]]).data
    assert cosine(text, tokens) > 0.99999
    assert cosine(text, several[0].embedding) > 0.99999


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"input": "word " * 400}, "256"),
        ({"input": []}, "input"),
        ({"input": [[30_522_000]]}, "30522000"),
        ({"input": "a", "dimensions": 64}, "384"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
    ],
)
def test_what_can_not_be_embedded_is_refused_with_what_is_wrong(client, asked, says):
    with pytest.raises(openai.BadRequestError, match=says):
        client.embeddings.create(model="vectors", **{"encoding_format": "float", **asked})


def test_a_long_text_is_cut_where_that_is_asked_for(client):
    text = "word " * 400
    cut = client.embeddings.create(model="vectors", input=text, extra_body={"truncate_prompt_tokens": -1})
    assert cut.usage.prompt_tokens == 256
    short = client.embeddings.create(model="vectors", input=text, extra_body={"truncate_prompt_tokens": 8})
    assert short.usage.prompt_tokens == 8


def test_models_do_what_they_are_for(client):
    with pytest.raises(openai.BadRequestError, match="makes embeddings"):
        client.chat.completions.create(model="vectors", messages=[{"role": "user", "content": "a"}])
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="nobody", input="a")
