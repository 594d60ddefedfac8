"""What a run's client sends for an input, and what an export says of it, as OpenAI-compatible servers are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from shouldtune.exporting.source import Source
from shouldtune.models.prompted import Prompted
from shouldtune.models.requests import Manner, request_body
from shouldtune.types import Message, Options, Prediction

Chat = list[dict[str, str]]
Request = dict[str, Any]
"""What is asked for beside the messages."""


def plain(messages: Sequence[Message]) -> Chat:
    return [{"role": message.role, "content": message.content} for message in messages]


def before(prompt: Prompted) -> Chat:
    """The messages that stand before every input."""
    return plain(_without_search(prompt))[:-1]


def asked(source: Source) -> tuple[Chat, Request]:
    """(the messages before every input, what is asked for beside them) of a run's model.

    Of a model behind an address both are taken out of the very body that its client sends, in the manner that its
    server has taught: a form that was refused as a field stands in the system's turn.
    """
    if source.answers_here:
        return before(source.prompt), request(source.prompt.options)
    chat, rest = _body(source, _without_search(source.prompt), source.manner)
    return chat[:-1], rest


def sent(source: Source, text: str, prediction: Prediction) -> tuple[Chat, Request]:
    """(the messages, what was asked for beside them) of the run's own request for one input."""
    messages = source.prompt.messages(text)[0]
    if source.answers_here:
        return plain(messages), request(source.prompt.options)
    return _body(source, messages, Manner.of(prediction.completion.manner))


def request(options: Options) -> Request:
    """What is asked for of a local model, as a server of its weights would be asked.

    A closed label set has no name that all servers know; vLLM's is `structured_outputs`.
    """
    body: Request = {"max_tokens": options.max_tokens, "temperature": options.temperature, "seed": options.seed}
    if options.stop:
        body["stop"] = list(options.stop)
    if options.schema is not None:
        form = {"name": "answer", "schema": dict(options.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if options.choices:
        body["extra_body"] = {"structured_outputs": {"choice": list(options.choices)}}
    return body


def labels_in_json(source: Source) -> bool:
    """Whether an answer comes as JSON whose `label` counts: so a server is asked for a closed label set."""
    return bool(source.prompt.options.choices) and "response_format" in asked(source)[1]


def _body(source: Source, messages: Sequence[Message], manner: Manner) -> tuple[Chat, Request]:
    body = request_body("", messages, source.prompt.options, manner)
    return body.pop("messages"), {name: value for name, value in body.items() if name != "model"}


def _without_search(prompt: Prompted) -> Sequence[Message]:
    return replace(prompt, nearest=None, passages=None).messages("")[0]
