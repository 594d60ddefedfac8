"""Shell command lines, compared by what they say and not by how it is written."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shouldtune.scorers import kubectl
from shouldtune.scorers.matching import unplaced
from shouldtune.types import Completion, Example, Score

ANY = "\ue000"
"""Stands for a placeholder: a character that no command holds."""
PLACEHOLDER = re.compile(r"<(?![\s<>|&;])[^<>|&;\n]*(?<![\s<>|&;])>")
JOINTS = frozenset({"|", "||", "&&", ";", "&", "|&"})
GUARDED = {sign: chr(ord(ANY) + number) for number, sign in enumerate("|&;<>#\n", 1)}
"""What a shell reads as more than a sign, and what stands for it where it is a sign only, quoted or escaped."""
MOST_CHARACTERS = 10_000
MOST_UNKNOWN_FLAGS = 6
"""Flags of programs that are not known are read with and without a value; at most so many, the rest with one."""


@dataclass(frozen=True)
class Command:
    """One command of a line, in normal form."""

    joint: str
    """What stands between it and the one before: `|`, `&&`; empty for the first."""
    program: str
    words: tuple[str, ...]
    flags: tuple[tuple[str, str], ...]
    """(long name, value), sorted; a switch has the value "", a redirection the name `>`."""
    rest: tuple[str, ...] = ()
    """What stands after `--`."""

    @property
    def verb(self) -> tuple[str, ...]:
        """What is done, and for kubectl to which kind of thing."""
        if self.program != "kubectl" or not self.words:
            return self.program, *self.words[:1]
        named = self.words[0] in kubectl.NO_KINDS | kubectl.PODS_MEANT
        return self.program, *self.words[: 1 + (self.words[0] in kubectl.TWO_WORDS) + (not named)]


def command(completion: Completion, example: Example) -> Score:
    """1 when the command line in the answer does what a right one does, however it is written.

    Read out of code blocks, prompts and prose, and split as a shell does. The order of flags is free, `--flag value` is
    `--flag=value`, and for kubectl short flags are long ones, kinds have one name and `pod/x` is `pod x`; names that
    `meta.alternatives` puts side by side are the same. A placeholder `<...>` of the target is any text. Commands joined
    by pipes, `&&` or `;` count one by one, in their order. Metrics: `verb`, the command and the kind of resource are
    right; `exact`, the line is right word for word.
    """
    same = _same_names(example.meta.get("alternatives"))
    programs = {first for answer in example.answers if (first := _first_word(answer))}
    verb = right = False
    for accepted in example.answers:
        lines = extract(completion.text, programs, accepted)
        if _plain(accepted) in (_plain(completion.text), _plain(lines)):
            return Score(1.0, "", {"verb": 1.0, "exact": 1.0})
        for switches in _readings(sorted(_unknown_flags(accepted) | _unknown_flags(lines))):
            wanted, found = (parse(text, same, switches) for text in (accepted, lines))
            if not wanted or [(c.joint, c.program) for c in wanted] != [(c.joint, c.program) for c in found]:
                break  # so it is in every reading
            verb = verb or all(_all_fit(w.verb, f.verb) for w, f in zip(wanted, found, strict=True))
            right = right or matches(wanted, found)
    reason = "" if right else "right command, wrong arguments" if verb else "wrong command"
    return Score(float(right), reason, {"verb": float(verb), "exact": 0.0})


def extract(text: str, programs: Collection[str], like: str = "") -> str:
    """The command lines in an answer: all of a code block's, or else as many as `like` has, the first ones."""
    text = re.sub(r"\\\n\s*", " ", text[:MOST_CHARACTERS])
    block = re.search(r"```(?:\w+\n)?(.*?)(?:```|\Z)", text, re.DOTALL)
    lines = [re.sub(r"^\s*[$#%>]\s+", "", line).strip() for line in (block[1] if block else text).splitlines()]
    names = "|".join(re.escape(name) for name in sorted({*programs, *kubectl.PROGRAMS}, key=len, reverse=True))
    most = len(lines) if block else max(1, len(like.strip().splitlines()))
    starting = [line for line in lines if re.match(rf"(?:sudo\s+)?(?:{names})(?:\s|$)", line)]
    if starting:
        return "\n".join(starting[:most])
    quoted = re.findall(rf"`((?:{names})\s[^`\n]*)`", text)
    if quoted:
        return "\n".join(quoted[:most])
    said = [line[found[-1].start() :] for line in lines if (found := [*re.finditer(rf"\b(?:{names})\s", line)])]
    if said:
        return said[0].rstrip("`'\" ").rstrip(".")
    return next((line.strip("`") for line in lines if line), "")


def parse(text: str, same: Mapping[str, str] | None = None, switches: Collection[str] = ()) -> list[Command]:
    """Every command of a line. `switches`: flags of unknown programs that take no value."""
    found: list[Command] = []
    joint = ""
    part: list[str] = []
    for token in (*_tokens(text), ";"):
        if token not in JOINTS:
            part.append((same or {}).get(token, token))
        else:
            if part:
                found.append(_command(joint, part, switches))
                joint = token
            part = []
    return found


def matches(wanted: Sequence[Command], found: Sequence[Command]) -> bool:
    """Whether two lines say the same; placeholders stand in the wanted one."""
    return len(wanted) == len(found) and all(_equal(w, f) for w, f in zip(wanted, found, strict=True))


def _equal(wanted: Command, found: Command) -> bool:
    if (wanted.joint, wanted.program) != (found.joint, found.program) or len(wanted.flags) != len(found.flags):
        return False
    if not (_all_fit(wanted.words, found.words) and _all_fit(wanted.rest, found.rest)):
        return False
    return unplaced([[w[0] == f[0] and _fits(w[1], f[1]) for f in found.flags] for w in wanted.flags]) is None


def _all_fit(wanted: Sequence[str], found: Sequence[str]) -> bool:
    return len(wanted) == len(found) and all(_fits(w, f) for w, f in zip(wanted, found, strict=True))


def _fits(wanted: str, found: str) -> bool:
    if ANY not in wanted:
        return wanted == found
    return re.fullmatch(".+".join(map(re.escape, wanted.split(ANY))), found, re.DOTALL) is not None


@lru_cache(maxsize=4096)
def _tokens(text: str) -> tuple[str, ...]:
    """A line's tokens as a shell would split it; placeholders are ANY, a line's end is `;`."""
    text = PLACEHOLDER.sub(ANY, text[:MOST_CHARACTERS])
    lexer = shlex.shlex(_guarded(text), posix=True, punctuation_chars="|&;<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        tokens = list(lexer)
    except ValueError:  # a quote that is never closed
        tokens = text.split()
        tokens = tokens[: tokens.index("#")] if "#" in tokens else tokens
    return tuple((token.strip("\n") or ";") if set(token) <= set("|&;\n") else token for token in tokens)


def _guarded(text: str) -> str:
    """A line without its comments, and with GUARDED signs where they are quoted or escaped: `grep '|'` is no pipe. A
    line that goes on after a backslash is one line."""
    made: list[str] = []
    quote, at = "", 0
    while at < len(text):
        sign, after = text[at], text[at + 1 : at + 2]
        at += 1
        if sign == "\\" and quote != "'" and after:
            at += 1
            if quote:
                made += ["" if after == "\n" else sign + GUARDED.get(after, after)]
            else:
                made += ["" if after == "\n" else GUARDED.get(after, sign + after)]
        elif sign == "#" and not quote and (not made or made[-1] in _BEFORE_COMMENT):
            at = end if (end := text.find("\n", at)) >= 0 else len(text)
        elif sign in "'\"" and quote in ("", sign):
            quote = "" if quote else sign
            made.append(sign)
        else:
            made.append(GUARDED.get(sign, sign) if quote or sign == "#" else sign)
    return "".join(made)


_BEFORE_COMMENT = frozenset(" \t\r\n|&;<>()")


def _command(joint: str, tokens: Sequence[str], switches: Collection[str]) -> Command:
    """One command's tokens in normal form."""
    tokens = list(tokens)
    while len(tokens) > 1 and (tokens[0] == "sudo" or re.match(r"\w+=", tokens[0])):
        tokens = tokens[1:]
    program = kubectl.PROGRAMS.get(tokens[0], tokens[0])
    known = program == "kubectl"
    words: list[str] = []
    flags: list[tuple[str, str]] = []
    waiting = tokens[1:]
    while waiting:
        token = waiting.pop(0)
        if token == "--":  # noqa: S105
            break
        if re.fullmatch(r"[<>&]*[<>][<>&]*", token):
            flags.append((token, waiting.pop(0) if waiting else ""))
        elif token.startswith("--"):
            name, equals, value = token[2:].partition("=")
            value = value if equals else _value(name, words, waiting, known, switches)
            flags.append((name, "" if value == "true" else value))
        elif re.match(r"-[A-Za-z]", token):
            flags += _short(token[1:], words, waiting, known, switches)
        else:
            words.append(token)
    if known:
        words, waiting = _kubectl_words(words, waiting)
    return Command(joint, program, tuple(words), tuple(sorted(flags)), tuple(waiting))


def _value(name: str, words: list[str], waiting: list[str], known: bool, switches: Collection[str]) -> str:
    """The value of a flag without `=`: the next token, or "" for a switch."""
    if known:
        switch = name in kubectl.SWITCHES or name in kubectl.SWITCHES_OF_COMMAND.get(words[0] if words else "", ())
    else:
        switch = name in switches
    if switch or not waiting or (waiting[0].startswith("-") and waiting[0] != "-"):
        return ""
    return waiting.pop(0)


def _short(
    letters: str, words: list[str], waiting: list[str], known: bool, switches: Collection[str]
) -> list[tuple[str, str]]:
    """`-it` is two switches, `-oyaml` a flag and its value, `-n x` takes the next token."""
    if not known and not letters.isalpha():  # -n5, -9x: nobody knows where the value begins
        return [(letters, "")]
    long_names = {**kubectl.SHORT, **kubectl.SHORT_OF_COMMAND.get(words[0] if words else "", {})} if known else {}
    found: list[tuple[str, str]] = []
    for index, letter in enumerate(letters):
        name, after = long_names.get(letter, letter), letters[index + 1 :]
        if known and name not in kubectl.SWITCHES and after:
            return [*found, (name, after.removeprefix("="))]
        if after.startswith("="):
            return [*found, (name, after[1:])]
        found.append((name, "" if after else _value(name, words, waiting, known, switches)))
    return found


def _kubectl_words(words: list[str], rest: list[str]) -> tuple[list[str], list[str]]:
    """kubectl's words with kinds under one name and `kind/name` in two; for `exec` what is run goes to the rest."""
    if not words or words[0] in kubectl.NO_KINDS:
        return words, rest
    verb, flat = words[0], list(words[: 1 + (words[0] in kubectl.TWO_WORDS)])
    kind_at = len(flat) + (verb == "auth")  # `auth can-i VERB KIND`
    last = ""
    for index, word in enumerate(words[len(flat) :], len(flat)):
        kind, slash, name = word.partition("/")
        if slash and name and (ANY in kind or re.fullmatch(r"[A-Za-z][\w.-]*", kind)) and "=" not in word:
            kind = _kinds(kind)
            flat += [name] if kind == last else [kind, name]
            last = kind
        elif index == kind_at:
            last = _kinds(word)
            flat.append(last)
        else:
            flat.append(word)
    if verb in kubectl.PODS_MEANT and flat[1:2] == ["pods"] and len(flat) > 2:
        del flat[1]
    if verb == "exec":
        own = 2 if flat[1:2] and flat[1] not in kubectl.KINDS.values() else 3
        flat, rest = flat[:own], [*flat[own:], *rest]
    return flat, rest


def _kinds(word: str) -> str:
    """`po,svc` -> `pods,services`; what follows a dot (a group, a field) stays."""
    return ",".join(sorted(_kind(part) for part in word.split(",")))


def _kind(part: str) -> str:
    base, dot, after = part.partition(".")
    return kubectl.KINDS.get(base.lower(), base) + dot + after


def _unknown_flags(text: str) -> set[str]:
    """The flags, of programs other than kubectl, of which it is not known whether they take a value."""
    found = {name for c in parse(text) if c.program != "kubectl" for name, _ in c.flags if name[:1] not in "<>&"}
    valued = {t[2:].partition("=")[0] for t in _tokens(text) if t.startswith("--") and "=" in t}
    return found - valued


def _readings(flags: Sequence[str]) -> list[tuple[str, ...]]:
    """Every set of those flags that may be switches; the same in both lines."""
    some = flags[:MOST_UNKNOWN_FLAGS]
    return [chosen for size in range(len(some) + 1) for chosen in itertools.combinations(some, size)]


def _same_names(alternatives: Any) -> dict[str, str]:
    """From lists of names that mean the same: each name -> the last of its list, the long one."""
    lists = alternatives if isinstance(alternatives, list) else []
    good = [names for names in lists if isinstance(names, list) and names and all(isinstance(n, str) for n in names)]
    return {name: names[-1] for names in good for name in names}


def _first_word(text: str) -> str:
    words = re.sub(r"^\s*\$\s+", "", text).split(maxsplit=1)
    return words[0] if words else ""


def _plain(text: str) -> str:
    return " ".join(text.split())
