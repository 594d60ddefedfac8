"""Providers whose own API is not OpenAI's, through the package any-llm (extra [providers]): `any:anthropic/NAME`.

The package turns a provider's API into OpenAI's shape. Its own retries are off, so that ours are the only ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.models.api_keys import hide
from shouldtune.models.concurrency import Places
from shouldtune.models.providers import ANY
from shouldtune.models.refusals import meaning_of, what_to_do
from shouldtune.models.replies import failed, read_reply, short
from shouldtune.models.requests import Manner, request_body
from shouldtune.models.retrying import Attempt, Patience, ask_patiently
from shouldtune.types import Completion, Message, ModelSpec, Options
