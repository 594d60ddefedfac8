"""What a provider is to train on: conversations as JSON lines, their size, and what is wrong with them.

The same conversations make the same bytes, so that the file's hash tells whether it was sent before.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from shouldtune.identifiers import RULES, identifiers
from shouldtune.models.bill import A_MESSAGE, BYTES_A_TOKEN, ROUND_A_MESSAGE
from shouldtune.types import Conversation

FEWEST_ROWS = 10
"""Fewer are refused (OpenAI's guide to supervised fine-tuning, 2025)."""
LONGEST_ROW = 65_536
"""Tokens of one row; a longer one is cut (OpenAI's guide to supervised fine-tuning, 2025, for its models of that year).
"""


@dataclass(frozen=True)
class TrainingFile:
    """The very bytes that are sent."""

    content: bytes
    rows: int
    messages: int
    said: int
    """UTF-8 bytes of what is said in them."""

    @staticmethod
    def of(conversations: Sequence[Conversation]) -> TrainingFile:
        """One line a conversation, its answer the last message."""
        lines = [json.dumps({"messages": _messages(each)}, ensure_ascii=False) for each in conversations]
        said = sum(
            len(message["content"].encode("utf-8", "replace")) for c in conversations for message in _messages(c)
        )
        content = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        return TrainingFile(content, len(lines), sum(len(each.messages) + 1 for each in conversations), said)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def name(self) -> str:
        """A file's name at the provider: it carries the content's hash."""
        return f"shouldtune-{self.sha256[:32]}.jsonl"

    @property
    def tokens(self) -> float:
        """Of one epoch, estimated."""
        return self.said / BYTES_A_TOKEN + A_MESSAGE * self.messages

    @property
    def most_tokens(self) -> int:
        """Of one epoch: a token is at least one byte, and no chat template that we know puts more around a message."""
        return self.said + ROUND_A_MESSAGE * (self.messages + self.rows)


def problems(conversations: Sequence[Conversation]) -> tuple[str, ...]:
    """Why a provider would refuse these, in a line each."""
    found = []
    if len(conversations) < FEWEST_ROWS:
        found.append(f"{len(conversations)} rows to train on; providers take {FEWEST_ROWS} or more")
    empty = sum(not each.answer.strip() for each in conversations)
    if empty:
        found.append(f"{empty} of {len(conversations)} rows have an empty answer")
    odd = sum(not _in_turn(each) for each in conversations)
    if odd:
        found.append(
            f"in {odd} of {len(conversations)} rows the turns are not: system or none, then user and assistant"
        )
    long = sum(TrainingFile.of([each]).tokens > LONGEST_ROW for each in conversations)
    if long:
        found.append(f"{long} of {len(conversations)} rows are longer than {LONGEST_ROW:,} tokens, about")
    return tuple(found)


def personal_rows(conversations: Sequence[Conversation]) -> Mapping[str, int]:
    """In how many rows personal data of each kind was found by its form, the most frequent first."""
    personal = {rule.kind for rule in RULES if rule.personal}
    found: Counter[str] = Counter()
    for each in conversations:
        texts = (*(message.content for message in each.messages), each.answer)
        found.update({identifier.kind for text in texts for identifier in identifiers(text, personal)})
    return dict(found.most_common())


def _messages(each: Conversation) -> list[dict[str, str]]:
    asked = [{"role": message.role, "content": message.content} for message in each.messages]
    return [*asked, {"role": "assistant", "content": each.answer}]


def _in_turn(each: Conversation) -> bool:
    roles = [message.role for message in each.messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    return bool(turns) and turns == ["user", "assistant"] * (len(turns) // 2) + ["user"]
