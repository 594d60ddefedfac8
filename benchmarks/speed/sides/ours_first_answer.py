"""One short answer of the embedded model by our engine."""

import asyncio

from shouldtune.models.open import open_model
from shouldtune.types import Message, Options

answer = asyncio.run(open_model("smollm2").complete([Message("user", "Hello!")], Options(max_tokens=8)))
assert answer.error is None, answer.error
