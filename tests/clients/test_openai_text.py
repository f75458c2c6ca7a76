"""OpenAI's client against language models that the gateway runs itself.

SmolLM2 is served as `smol`, and as `short`: with a context of 64 tokens, one call at a time, and one that may wait.
"""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

CHAT = [
    {"role": "system", "content": "You answer in one short sentence."},
    {"role": "user", "content": "What is the capital of France?"},
]
PROMPT = "One, two, three, four,"


@pytest.fixture(scope="module")
def client(base_url):
    with openai.OpenAI(base_url=base_url + "/v1", api_key="none", max_retries=0, timeout=50) as client:
        yield client


@pytest.fixture(scope="module")
def post(base_url):
    """Posts JSON; the status, and the body as text."""

    def send(path, body):
        request = urllib.request.Request(base_url + path, json.dumps(body).encode(), {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=50) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return send


@pytest.fixture(scope="module")
def tokens(post):
    def tokenize(text, **more):
        status, body = post("/tokenize", {"model": "smol", "prompt": text, "add_special_tokens": False, **more})
        assert status == 200, body
        return json.loads(body)["tokens"]

    return tokenize


def chat(client, messages=CHAT, **more):
    more = {"model": "smol", "temperature": 0, "max_tokens": 8, **more}
    return client.chat.completions.create(messages=messages, **more)


def complete(client, prompt=PROMPT, **more):
    more = {"model": "smol", "temperature": 0, "max_tokens": 6, **more}
    return client.completions.create(prompt=prompt, **more)


@pytest.fixture(scope="module")
def paris(client):
    """The greedy answer to CHAT."""
    return chat(client)


@pytest.fixture(scope="module")
def counted(client):
    """The greedy answer to PROMPT."""
    return complete(client)


def refused(ask, **more):
    with pytest.raises(openai.BadRequestError) as raised:
        ask(**more)
    return raised.value


# Chats.


def test_a_chat(paris):
    assert (paris.object, paris.model) == ("chat.completion", "smol")
    assert paris.id.startswith("chatcmpl-") and paris.created > 1_700_000_000
    (choice,) = paris.choices
    assert (choice.index, choice.message.role) == (0, "assistant")
    assert "Paris" in choice.message.content
    assert choice.finish_reason in ("stop", "length")
    usage = paris.usage
    assert usage.prompt_tokens > 20 and 0 < usage.completion_tokens <= 8
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens is not None


def test_a_streamed_chat_says_the_same_piece_by_piece(client, paris):
    first, *middle, last = chat(client, stream=True)
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert all(chunk.choices[0].finish_reason is None for chunk in [first, *middle])
    assert all(chunk.choices[0].delta.role is None for chunk in middle)
    assert "".join(chunk.choices[0].delta.content for chunk in middle) == paris.choices[0].message.content
    assert len(middle) > 1, "it comes in more than one piece"
    assert last.choices[0].finish_reason == paris.choices[0].finish_reason
    assert last.choices[0].delta.content is None
    chunks = [first, *middle, last]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk.id, chunk.created, chunk.model, chunk.system_fingerprint) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_the_usage_of_a_stream_comes_last(client, paris):
    *chunks, last = chat(client, stream=True, stream_options={"include_usage": True})
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)
    assert last.choices == []
    for field in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert getattr(last.usage, field) == getattr(paris.usage, field)
    # The prompt was computed before.
    assert 0 < last.usage.prompt_tokens_details.cached_tokens <= last.usage.prompt_tokens


def test_each_chunk_tells_the_usage_where_that_is_asked_for(client, paris):
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = list(chat(client, stream=True, stream_options=options))
    counts = [chunk.usage.completion_tokens for chunk in chunks]
    assert counts == sorted(counts) and counts[0] == 0
    assert counts[-1] == paris.usage.completion_tokens
    assert {chunk.usage.prompt_tokens for chunk in chunks} == {paris.usage.prompt_tokens}


def test_the_clients_own_stream_helper(client, paris):
    with client.chat.completions.stream(model="smol", messages=CHAT, temperature=0, max_tokens=8) as stream:
        texts = [event.delta for event in stream if event.type == "content.delta"]
        whole = stream.get_final_completion()
    assert "".join(texts) == whole.choices[0].message.content == paris.choices[0].message.content


def test_parts_of_text_are_one_text(client, paris):
    parts = [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": " of France?"}]
    answer = chat(client, [CHAT[0], {"role": "user", "content": parts}])
    assert answer.choices[0].message.content == paris.choices[0].message.content
    assert answer.usage.prompt_tokens == paris.usage.prompt_tokens


def test_an_answer_goes_into_the_next_question(client, paris):
    # As the client dumps it, with all that it is not.
    messages = [*CHAT, paris.choices[0].message, {"role": "user", "content": "And of Italy?"}]
    answer = chat(client, messages, max_tokens=4)
    assert answer.usage.prompt_tokens > paris.usage.prompt_tokens


def test_max_completion_tokens_is_the_new_name(client):
    answer = client.chat.completions.create(model="smol", messages=CHAT, temperature=0, max_completion_tokens=2)
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (2, "length")


def test_an_answer_goes_on_with_the_last_message(client):
    messages = [*CHAT, {"role": "assistant", "content": "The capital of France is the city of"}]
    going_on = chat(client, messages, max_tokens=3, extra_body={"continue_final_message": True})
    assert "Paris" in going_on.choices[0].message.content
    error = refused(chat, client=client, extra_body={"continue_final_message": True, "add_generation_prompt": True})
    assert error.param == "continue_final_message"


def test_the_template_is_told_variables(client, paris):
    told = chat(client, extra_body={"chat_template_kwargs": {"enable_thinking": False, "unheard_of": [1, {}]}})
    assert told.choices[0].message.content == paris.choices[0].message.content


# Completions.


def test_a_completion(counted):
    assert (counted.object, counted.model) == ("text_completion", "smol")
    assert counted.id.startswith("cmpl-")
    (choice,) = counted.choices
    assert choice.text.startswith(" five") and (choice.index, choice.finish_reason) == (0, "length")
    assert counted.usage.completion_tokens == 6


def test_tokens_stand_for_their_text(client, counted, tokens):
    prompt = tokens(PROMPT)
    assert complete(client, prompt).choices[0].text == counted.choices[0].text
    both = complete(client, [prompt, prompt[:3]])
    assert both.choices[0].text == counted.choices[0].text
    assert both.usage.prompt_tokens == len(prompt) + 3


def test_each_prompt_has_its_choice(client, counted):
    prompts = [PROMPT, "The sun rises in the", PROMPT]
    alone = complete(client, prompts[1]).choices[0].text
    together = complete(client, prompts)
    assert [choice.index for choice in together.choices] == [0, 1, 2]
    expected = [counted.choices[0].text, alone, counted.choices[0].text]
    assert [choice.text for choice in together.choices] == expected, "company changes nothing"
    assert together.usage.completion_tokens == 18
    texts, reasons = ["", "", ""], [None, None, None]
    for chunk in complete(client, prompts, stream=True):
        (choice,) = chunk.choices
        texts[choice.index] += choice.text
        reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert (texts, reasons) == (expected, ["length"] * 3)


def test_a_prompt_is_echoed(client, counted, tokens):
    expected = PROMPT + counted.choices[0].text
    assert complete(client, echo=True).choices[0].text == expected
    assert "".join(chunk.choices[0].text for chunk in complete(client, echo=True, stream=True)) == expected
    assert complete(client, tokens(PROMPT), echo=True).choices[0].text == expected
    alone = complete(client, echo=True, max_tokens=0)
    assert alone.choices[0].text == PROMPT
    assert (alone.usage.completion_tokens, alone.choices[0].finish_reason) == (0, "length")


def test_sixteen_tokens_where_nothing_is_said(client):
    answer = client.completions.create(model="smol", prompt=PROMPT, extra_body={"ignore_eos": True})
    assert answer.usage.completion_tokens == 16


# Sampling.


def test_the_same_seed_has_the_same_answer(client):
    def with_seed(seed):
        return complete(client, temperature=1.5, seed=seed, max_tokens=12).choices[0].text

    assert with_seed(7) == with_seed(7)
    assert with_seed(-7) == with_seed(-7)
    assert len({with_seed(seed) for seed in range(4)}) > 1


def test_what_other_servers_know_is_known(client, counted):
    expected = counted.choices[0].text
    assert complete(client, temperature=2, extra_body={"top_k": 1}).choices[0].text == expected
    assert complete(client, temperature=2, extra_body={"min_p": 1}).choices[0].text == expected
    neutral = {"top_k": -1, "min_p": 0, "repetition_penalty": 1, "skip_special_tokens": True, "use_beam_search": False}
    assert complete(client, n=1, extra_body=neutral).choices[0].text == expected
    assert complete(client, extra_body={"repetition_penalty": 5}).choices[0].text != expected


def test_an_answer_stops_before_a_stop_string(client, counted):
    text = counted.choices[0].text
    stop = text[3:6]
    stopped = complete(client, stop=stop).choices[0]
    assert (stopped.text, stopped.finish_reason) == (text[: text.index(stop)], "stop")
    streamed = list(complete(client, stop=["never there", stop], stream=True))
    assert "".join(chunk.choices[0].text for chunk in streamed) == stopped.text
    assert streamed[-1].choices[0].finish_reason == "stop"


def test_tokens_stop_and_are_taken_out(client, counted, tokens):
    first = tokens(counted.choices[0].text)[0]
    stopped = complete(client, extra_body={"stop_token_ids": [first]})
    assert (stopped.choices[0].text, stopped.choices[0].finish_reason) == ("", "stop")
    assert stopped.usage.completion_tokens == 1
    at_least = complete(client, extra_body={"stop_token_ids": [first], "min_tokens": 3})
    assert at_least.usage.completion_tokens >= 3
    biased = complete(client, logit_bias={str(first): -100})
    assert not biased.choices[0].text.startswith(" five")


def test_characters_are_whole_in_streams(client, tokens):
    # Nothing but pieces of these characters, in whatever order.
    pieces = set(tokens("🦀")) | set(tokens("é")) | set(tokens("日"))
    ask = {"logit_bias": {str(piece): 100 for piece in pieces}, "max_tokens": 16, "prompt": "🦀é日🦀é日🦀é日"}
    whole = complete(client, **ask).choices[0].text
    streamed = [chunk.choices[0].text for chunk in complete(client, stream=True, **ask)]
    assert "".join(streamed) == whole
    assert any(ord(character) > 127 for character in whole)
    assert all(len(piece.encode().decode()) == len(piece) for piece in streamed)


# Refusals.


@pytest.mark.parametrize(
    "param, code, more",
    [
        ("temperature", "invalid_request", {"temperature": 3}),
        ("top_p", "invalid_request", {"top_p": 0}),
        ("max_tokens", "invalid_request", {"max_tokens": 0}),
        ("stop", "invalid_request", {"stop": [""]}),
        ("tools", "unsupported_parameter", {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ("n", "unsupported_parameter", {"n": 2}),
        ("logprobs", "unsupported_parameter", {"logprobs": True}),
        ("response_format", "unsupported_parameter", {"response_format": {"type": "json_object"}}),
        ("guided_json", "unsupported_parameter", {"extra_body": {"guided_json": {}}}),
        ("messages[0].role", "invalid_request", {"messages": [{"role": "robot", "content": "a"}]}),
        ("messages", "invalid_request", {"messages": []}),
        (
            "messages[0].content[0].type",
            "unsupported_parameter",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_names_the_field(client, param, code, more, stream):
    error = refused(chat, client=client, stream=stream, **more)
    assert (error.status_code, error.type, error.code, error.param) == (400, "invalid_request_error", code, param)
    assert param in error.message


def test_a_field_of_completions_that_is_refused(client):
    for param, more in [("suffix", {"suffix": "b"}), ("best_of", {"best_of": 2}), ("logprobs", {"logprobs": 1})]:
        error = refused(complete, client=client, **more)
        assert (error.code, error.param) == ("unsupported_parameter", param)


def test_a_token_that_there_is_none_of(client):
    error = refused(complete, client=client, prompt=[1, 10_000_000])
    assert error.param == "prompt" and "10000000" in error.message
    error = refused(complete, client=client, logit_bias={"10000000": 1})
    assert "10000000" in error.message


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_too_long_for_the_context_is_refused_with_both_numbers(client, stream):
    error = refused(chat, client=client, model="short", max_tokens=60, stream=stream)
    assert (error.code, error.param) == ("context_length_exceeded", "messages")
    assert "60" in error.message and "64" in error.message


def test_without_a_limit_an_answer_fills_the_context(client):
    answer = client.chat.completions.create(
        model="short", messages=CHAT[1:], temperature=0, extra_body={"ignore_eos": True}
    )
    assert answer.usage.total_tokens == 64 and answer.choices[0].finish_reason == "length"


def test_a_model_that_there_is_none_of(client):
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError) as raised:
            chat(client, model="no-such-model", stream=stream)
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_a_text_model_makes_no_embeddings(client):
    with pytest.raises(openai.APIStatusError) as raised:
        client.embeddings.create(model="smol", input="a")
    assert 400 <= raised.value.status_code < 500 and "smol" in raised.value.message


# Waiting, leaving and coming together.


def test_where_nobody_more_may_wait_the_caller_may_come_again(client):
    long = {"model": "short", "max_tokens": 40, "extra_body": {"ignore_eos": True}}
    gate = threading.Barrier(6)

    def ask():
        gate.wait()
        try:
            return complete(client, **long)
        except openai.RateLimitError as error:
            return error

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask(), range(6)))
    refusals = [answer for answer in answers if isinstance(answer, openai.RateLimitError)]
    assert 0 < len(refusals) < 6
    assert all(error.status_code == 429 and int(error.response.headers["retry-after"]) > 0 for error in refusals)
    assert {answer.usage.completion_tokens for answer in answers if answer not in refusals} == {40}


def test_a_client_that_waits_no_longer_says_so(client):
    patient = client.with_options(timeout=0.05)
    with pytest.raises(openai.APITimeoutError):
        complete(patient, max_tokens=500, extra_body={"ignore_eos": True})
    assert complete(client, max_tokens=1).usage.completion_tokens == 1


def test_a_reader_who_leaves_makes_room(client):
    for _ in range(3):
        with complete(client, model="short", max_tokens=50, stream=True, extra_body={"ignore_eos": True}) as stream:
            assert next(stream).choices[0].finish_reason is None
    assert complete(client, model="short", max_tokens=1).usage.completion_tokens == 1


def test_many_at_once_get_what_each_gets_alone(base_url, client):
    prompts = [f"{number} times {number} is" for number in range(2, 10)]
    alone = [complete(client, prompt).choices[0].text for prompt in prompts]

    async def ask(client, prompt):
        stream = await client.completions.create(
            model="smol", prompt=prompt, temperature=0, max_tokens=6, stream=True
        )
        return "".join([chunk.choices[0].text async for chunk in stream])

    async def together():
        async with openai.AsyncOpenAI(base_url=base_url + "/openai/v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(ask(client, prompt) for prompt in prompts))

    assert asyncio.run(together()) == alone


def test_ids_are_made_of_the_requests(client):
    answer = chat(client, max_tokens=1, extra_headers={"x-request-id": "my-request-7"})
    assert answer.id == "chatcmpl-my-request-7"
    assert answer._request_id == "my-request-7"


def test_models_of_text_are_listed(client):
    assert {"smol", "short"} <= {model.id for model in client.models.list().data}
    assert client.models.retrieve("smol").id == "smol"


# Around it: tokens, and V2's generate.


def test_tokens_and_back(post, tokens):
    text = "Größe 🦀\n  and  so on"
    ids = tokens(text)
    status, body = post("/detokenize", {"model": "smol", "tokens": ids})
    assert (status, json.loads(body)) == (200, {"prompt": text})
    status, body = post("/tokenize", {"model": "smol", "prompt": "one two", "return_token_strs": True})
    answer = json.loads(body)
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"]) and answer["max_model_len"] > 64
    assert "".join(answer["token_strs"]) == "one two"


def test_the_tokens_of_a_chat_are_those_of_its_prompt(post, paris):
    status, body = post("/tokenize", {"model": "smol", "messages": CHAT})
    assert (status, json.loads(body)["count"]) == (200, paris.usage.prompt_tokens)
    status, body = post("/tokenize", {"model": "smol", "messages": CHAT, "add_generation_prompt": False})
    assert json.loads(body)["count"] < paris.usage.prompt_tokens
    status, body = post("/tokenize", {"model": "smol"})
    assert status == 400 and json.loads(body)["error"]["param"] == "prompt"


def test_generate_as_v2_has_it(post, counted):
    parameters = {"temperature": 0, "max_tokens": 6}
    path = "/v2/models/smol/generate"
    status, body = post(path, {"id": "7", "text_input": PROMPT, "parameters": parameters})
    answer = json.loads(body)
    assert (status, answer["id"], answer["model_name"]) == (200, "7", "smol")
    assert answer["text_output"] == counted.choices[0].text
    assert answer["details"]["finish_reason"] == "length" and answer["details"]["completion_tokens"] == 6
    # As Triton's clients write it.
    beside = post(path, {"text_input": PROMPT, "bad_words": "", "stop_words": "", **parameters})
    assert json.loads(beside[1])["text_output"] == answer["text_output"]
    status, body = post(path, {"text_input": PROMPT, "parameters": {"temperature": 3}})
    assert (status, list(json.loads(body))) == (400, ["error"]) and "temperature" in body


def test_generate_stream_as_v2_has_it(post, counted):
    body = {"text_input": PROMPT, "temperature": 0, "max_tokens": 6}
    status, text = post("/v2/models/smol/generate_stream", body)
    assert status == 200 and text.endswith("\n\n")
    events = [json.loads(event.removeprefix("data: ")) for event in text.removesuffix("\n\n").split("\n\n")]
    assert "".join(event["text_output"] for event in events) == counted.choices[0].text
    assert [event["done"] for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["details"]["finish_reason"] == "length"
