"""A llama.cpp server on a GGUF file, in an environment of its own: over HTTP, and in its own process too.

Prints `ready URL`; for every line of JSON (the body of a chat completion, or of a completion where it has a `prompt`)
it prints the reply that it gives in process.
"""

from __future__ import annotations

import json
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_ctx = 2048
params.n_parallel = 1
params.cpuparams.n_threads = 1
params.warmup = False
params.verbosity = 0
server = xllamacpp.Server(params)
print("ready", server.listening_address, flush=True)
for line in sys.stdin:
    body = json.loads(line)
    answer = server.handle_completions if "prompt" in body else server.handle_chat_completions
    print(json.dumps(answer(body)), flush=True)
