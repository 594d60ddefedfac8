"""A chat template taken apart into what it puts around each role's words, and said again in Go's text/template."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shouldtune.types import Message

if TYPE_CHECKING:
    from shouldtune.exporting.asking import Chat
    from shouldtune.models.chat_tokenizer import ChatTokenizer


@dataclass(frozen=True)
class Turns:
    """What a chat template puts around each role's words."""

    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    answer: str
    """What stands before the answer."""
    alone: str = ""
    """What the template puts above a chat that has no system message."""
    first: str = ""
    """The first token's text, where the template prints it at the top of every chat."""

    def render(self, chat: Chat) -> str:
        parts = [self.first, *([] if any(turn["role"] == "system" for turn in chat) else [self.alone])]
        for turn in chat:
            before, after = getattr(self, turn["role"])
            parts.append(before + turn["content"] + after)
        return "".join(parts) + self.answer

    def go(self) -> str:
        """The same as Go's text/template."""
        blocks = [
            f"{test}{before}{{{{ .Content }}}}{after}"
            for test, (before, after) in (
                ('{{ if eq .Role "system" }}', self.system),
                ('{{ else if eq .Role "user" }}', self.user),
                ("{{ else }}", self.assistant),
            )
        ]
        alone = f"{{{{ if not .System }}}}{self.alone}{{{{ end }}}}" if self.alone else ""
        return f"{self.first}{alone}{{{{ range .Messages }}}}{''.join(blocks)}{{{{ end }}}}{{{{ end }}}}{self.answer}"

    def parts(self) -> tuple[str, ...]:
        """Every text that the template itself puts in."""
        return (*self.system, *self.user, *self.assistant, self.answer, self.alone, self.first)


_GO = re.compile(
    r"(.*?)(?:\{\{ if not \.System \}\}(.*?)\{\{ end \}\})?"
    r'\{\{ range \.Messages \}\}\{\{ if eq \.Role "system" \}\}(.*?)\{\{ \.Content \}\}(.*?)'
    r'\{\{ else if eq \.Role "user" \}\}(.*?)\{\{ \.Content \}\}(.*?)'
    r"\{\{ else \}\}(.*?)\{\{ \.Content \}\}(.*?)\{\{ end \}\}\{\{ end \}\}(.*)",
    re.DOTALL,
)


def turns_of_go(template: str) -> Turns | None:
    """What `Turns.go` was made of; None where it is another template."""
    match = _GO.fullmatch(template)
    if match is None:
        return None
    first, alone, s, t, u, v, a, b, answer = match.groups()
    return Turns((s, t), (u, v), (a, b), answer, alone or "", first)


def turns_of(tokenizer: ChatTokenizer) -> Turns | None:
    """A chat template taken apart by what it makes of marked words; None where it is no row of turns."""
    system, user, answer, again = (
        Message("system", "SYS9"),
        Message("user", "USR9"),
        Message("assistant", "ANS9"),
        Message("user", "AGN9"),
    )
    whole = tokenizer.render((system, user, answer, again), for_answer=False)
    asked = tokenizer.render((user,), for_answer=True)
    begins = tokenizer.token(tokenizer.config.bos)
    if not begins or any(text.find(begins) != 0 or text.count(begins) > 1 for text in (whole, asked)):
        begins = ""  # a token that begins every turn is the turns' own
    whole, asked = whole.removeprefix(begins), asked.removeprefix(begins)
    found = re.fullmatch("(.*)SYS9(.*)USR9(.*)ANS9(.*)AGN9(.*)", whole, re.DOTALL)
    if found is None or "USR9" not in asked:
        return None
    start, to_user, to_answer, to_again, after = found.groups()
    sizes = range(min(len(to_user), len(to_again)), -1, -1)
    shared = next(size for size in sizes if to_user.endswith(to_again[len(to_again) - size :]))
    if to_user[len(to_user) - shared :].startswith(after):  # what ends every turn begins none
        shared -= len(after)
    into_user = to_user[len(to_user) - shared :]
    first, _, last = asked.partition("USR9")
    if not (to_answer.startswith(after) and last.startswith(after) and first.endswith(into_user)):
        return None
    return Turns(
        (start, to_user[: len(to_user) - shared]),
        (into_user, after),
        (to_answer[len(after) :], to_again[: len(to_again) - shared]),
        last[len(after) :],
        first[: len(first) - len(into_user)],
        begins,
    )
