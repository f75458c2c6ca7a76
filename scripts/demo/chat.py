"""Asks the language model by OpenAI's own client: whole, streamed, and several at a time, who must not disturb each other."""

from concurrent.futures import ThreadPoolExecutor

import openai
from tell import check, headline

MODEL = "smollm2"
QUESTIONS = [
    ("Name the capital of France.", "Paris"),
    ("What colour is a clear sky by day?", "blue"),
    ("Name the largest ocean on Earth.", "Pacific"),
    ("What is 2 + 2?", "4"),
]


def ask(address):
    headline("smollm2: a language model, asked by OpenAI's client")
    client = openai.OpenAI(base_url=f"http://{address}/v1", api_key="none", max_retries=0, timeout=60)
    alone = [stream(client, question) for question, _ in QUESTIONS]
    right = sum(word.lower() in answer.lower() for answer, (_, word) in zip(alone, QUESTIONS))
    check(right == len(QUESTIONS), f"smollm2: {right} of {len(QUESTIONS)} answers hold the word that they should")
    with ThreadPoolExecutor(len(QUESTIONS)) as pool:
        together = list(pool.map(lambda pair: whole(client, pair[0]), QUESTIONS))
    check(together == alone, "smollm2: answers differ when several are asked at a time")
    print(f"  the same {len(QUESTIONS)} answers, not streamed and all at a time: equal to the last letter")
    try:
        client.chat.completions.create(model=MODEL, messages=messages("Hello"), max_tokens=100_000)
    except openai.BadRequestError as error:
        print(f"  too much is refused: {error.body['message']}")
    else:
        check(False, "smollm2: 100,000 tokens were not refused")


def messages(question):
    return [{"role": "user", "content": question}]


def stream(client, question):
    """The answer, printed as it comes."""
    print(f"  {question}  ", end="", flush=True)
    chunks = client.chat.completions.create(
        model=MODEL,
        messages=messages(question),
        temperature=0,
        max_tokens=32,
        stream=True,
        stream_options={"include_usage": True},
    )
    text, usage = "", None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            piece = choice.delta.content or ""
            text += piece
            print(piece.replace("\n", " "), end="", flush=True)
    print(f"  ({usage.prompt_tokens} + {usage.completion_tokens} tokens)")
    return text


def whole(client, question):
    answer = client.chat.completions.create(model=MODEL, messages=messages(question), temperature=0, max_tokens=32)
    return answer.choices[0].message.content
