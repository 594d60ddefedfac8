"""Answers that cannot leave their form: a JSON schema or a closed label set, enforced token by token."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shouldtune.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from shouldtune.models.chat_tokenizer import ChatTokenizer


class Grammars:
    """Compiles schemas and label sets for one tokenizer; compiled grammars are kept."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        from llguidance import LLTokenizer

        config = tokenizer.config
        self._tokens = LLTokenizer(tokenizer.to_json(), n_vocab=config.vocabulary, eos_token=list(config.eos))
        self._compiled: dict[str, Any] = {}

    def constraint(self, schema: Mapping[str, Any] | None, choices: Sequence[str]) -> Constraint:
        """A fresh constraint at its beginning. Raises InputError when the schema cannot be enforced."""
        from llguidance import LLMatcher

        if choices:
            # A Lark string is written as a JSON string is.
            labels = " | ".join(json.dumps(choice, ensure_ascii=False) for choice in dict.fromkeys(choices))
            grammar = LLMatcher.grammar_from_lark(f"start: {labels}")
        else:
            # One spelling of white space: a small model offered any amount may never stop writing it.
            try:
                grammar = LLMatcher.grammar_from_json_schema(dict(schema or {}), {"whitespace_flexible": False})
            except (ValueError, RecursionError):
                raise InputError(
                    "the answer's form cannot be enforced: a number or a nesting in it is too large"
                ) from None
        matcher = self._compiled.get(grammar)
        if matcher is None:
            matcher = LLMatcher(self._tokens, grammar, log_level=0)
            if matcher.is_error():
                raise InputError(f"the answer's form cannot be enforced: {matcher.get_error().splitlines()[0]}")
            if len(self._compiled) >= 32:
                self._compiled.clear()
            self._compiled[grammar] = matcher
        return Constraint(matcher.deep_copy())


class Constraint:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    @property
    def finished(self) -> bool:
        """Whether nothing may follow but the end."""
        return bool(self._matcher.is_stopped())

    def restrict(self, logits: Tensor) -> None:
        """Set the logits [vocabulary] of every token that may not come next to minus infinity."""
        import numpy as np
        import torch

        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[: len(logits)].astype(bool)
        logits.masked_fill_(~torch.from_numpy(allowed).to(logits.device), float("-inf"))

    def accept(self, token: int) -> None:
        """Move on by the token that was chosen."""
        self._matcher.consume_token(token)
