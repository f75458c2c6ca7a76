"""llama.cpp's own server with a GGUF file, for the benchmark beside it. Arguments: the file, and how many sequences run at a time.

Prints its address as Weirgate does."""

import signal
import sys

import xllamacpp

path, sequences = sys.argv[1], int(sys.argv[2])
params = xllamacpp.CommonParams()
params.model.path = path
params.model_alias = {"smollm2"}
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_parallel = sequences
# Shared by all sequences alike.
params.n_ctx = 4096 * sequences
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print("data", server.listening_address, flush=True)
print(flush=True)
signal.pause()
