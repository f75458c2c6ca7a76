#!/usr/bin/env python3
"""llama.cpp's part of the benchmark `network`: runs what it is told on stdin, a JSON object a line, and answers with the seconds.

    {"model": PATH}                                      loads a file
    {"threads": 2, "prompt": 512}                        one prompt, the logits after its last token
    {"threads": 2, "streams": 8, "past": 64, "steps": 32}  decodes, of so many sequences with so many tokens before

It calls the library inside the package xllamacpp as C, so that no server stands between. The structures that it passes are
larger than the library's, and what it sets in them is held against the library's defaults first.
"""

import ctypes as C
import glob
import importlib.util
import json
import sys
import time
from pathlib import Path

SEQUENCES = 16
CONTEXT = 4096
BATCH = 512


class Parameters(C.Structure):
    _fields_ = [("bytes", C.c_ubyte * 1024)]


class Batch(C.Structure):
    _fields_ = [
        ("n_tokens", C.c_int32),
        ("token", C.POINTER(C.c_int32)),
        ("embd", C.c_void_p),
        ("pos", C.POINTER(C.c_int32)),
        ("n_seq_id", C.POINTER(C.c_int32)),
        ("seq_id", C.POINTER(C.POINTER(C.c_int32))),
        ("logits", C.POINTER(C.c_int8)),
    ]


def library():
    package = Path(importlib.util.find_spec("xllamacpp").origin).parent
    (path,) = glob.glob(str(package / "xllamacpp*.so"))
    found = C.CDLL(path)
    found.llama_model_default_params.restype = Parameters
    found.llama_context_default_params.restype = Parameters
    found.llama_batch_init.restype = Batch
    found.llama_model_load_from_file.restype = C.c_void_p
    found.llama_init_from_model.restype = C.c_void_p
    found.llama_get_memory.restype = C.c_void_p
    found.llama_get_memory.argtypes = [C.c_void_p]
    found.llama_memory_clear.argtypes = [C.c_void_p, C.c_bool]
    found.llama_memory_seq_rm.argtypes = [C.c_void_p, C.c_int32, C.c_int32, C.c_int32]
    found.llama_memory_seq_rm.restype = C.c_bool
    found.llama_decode.argtypes = [C.c_void_p, Batch]
    found.llama_set_n_threads.argtypes = [C.c_void_p, C.c_int32, C.c_int32]
    found.llama_get_logits_ith.argtypes = [C.c_void_p, C.c_int32]
    found.llama_get_logits_ith.restype = C.POINTER(C.c_float)
    return found


class Model:
    def __init__(self, path):
        self.lib = library()
        quiet = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)
        self.quiet = quiet(lambda level, text, data: None)
        self.lib.llama_log_set(self.quiet, None)
        self.lib.llama_backend_init()
        parameters = self.lib.llama_context_default_params()
        numbers = (C.c_uint32 * 4).from_buffer(parameters)
        if list(numbers) != [512, 2048, 512, 1]:
            sys.exit(f"llama_cpp: context parameters begin with {list(numbers)}, which is another version's layout")
        numbers[:] = [SEQUENCES * CONTEXT, BATCH, BATCH, SEQUENCES]
        model = self.lib.llama_model_load_from_file(path.encode(), self.lib.llama_model_default_params())
        self.context = model and self.lib.llama_init_from_model(C.c_void_p(model), parameters)
        if not self.context:
            sys.exit(f"llama_cpp: {path} can't be loaded")
        self.memory = self.lib.llama_get_memory(self.context)
        self.batch = self.lib.llama_batch_init(BATCH, 0, 1)

    def decode(self, tokens):
        """Tokens as (token, position, sequence, whether logits are wanted)."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for at, (token, position, sequence, logits) in enumerate(tokens):
            batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, position, 1
            batch.seq_id[at][0], batch.logits[at] = sequence, logits
        if self.lib.llama_decode(self.context, batch) != 0:
            sys.exit("llama_cpp: llama_decode failed")
        wanted = [at for at, token in enumerate(tokens) if token[3]]
        # What it computes in the background is done once its logits can be read.
        return [self.lib.llama_get_logits_ith(self.context, at)[0] for at in wanted]

    def prompt(self, sequence, length):
        tokens = [(token_at(sequence, at), at, sequence, at == length - 1) for at in range(length)]
        for first in range(0, length, BATCH):
            self.decode(tokens[first : first + BATCH])

    def run(self, threads, prompt=0, streams=0, past=0, steps=0):
        self.lib.llama_set_n_threads(self.context, threads, threads)
        self.lib.llama_memory_clear(self.memory, False)
        for sequence in range(streams):
            self.prompt(sequence, past)
        self.started()
        if prompt:
            self.prompt(0, prompt)
        for step in range(steps):
            position = past + step
            self.decode([(token_at(sequence, position), position, sequence, True) for sequence in range(streams)])
        return time.perf_counter() - self.start, self.processor() - self.used

    def started(self):
        self.used = self.processor()
        self.start = time.perf_counter()

    @staticmethod
    def processor():
        return time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)


def token_at(sequence, position):
    """The same as the benchmark's own."""
    return 1000 + (sequence * 7919 + position * 104729) % 40000


def main():
    model = None
    for line in sys.stdin:
        asked = json.loads(line)
        if "model" in asked:
            model = Model(asked["model"])
            wall = processor = 0.0
        else:
            wall, processor = model.run(**asked)
        print(json.dumps({"wall": wall, "processor": processor}), flush=True)


if __name__ == "__main__":
    main()
