"""YAML to plain data with the line of every key, and nothing more: no tags, no bombs, no doubled keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from shouldtune.errors import InputError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_NODES = 20_000
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null"))

Lines = dict[tuple[str | int, ...], int]


def read_yaml(path: Path) -> tuple[dict[str, Any], Lines]:
    """Read a YAML mapping.

    Returns the data and, for every path of keys in it, its line (1-based). Raises InputError with
    `file:line` for anything but plain mappings, lists and scalars, for a key that stands twice, and for
    files over MAX_BYTES, MAX_DEPTH deep or MAX_NODES long after aliases are followed (a bomb expands there).
    """
    text = read_text(path, MAX_BYTES)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode):
            raise InputError("expected a mapping of keys to values", where=f"{path}:1", hint="start with `name: ...`")
        lines: Lines = {}
        data = _Plain(path, lines).value(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError(
            f"not valid YAML: {error.problem or error.context}", where=where, hint="check indentation and quotes"
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"not valid YAML: {str(error).splitlines()[0]}", where=path) from None
    assert isinstance(data, dict)  # noqa: S101  the root was a mapping
    return data, lines


def read_text(path: Path, max_bytes: int) -> str:
    """A UTF-8 text file (a byte-order mark is dropped); InputError when missing, too large, binary or not UTF-8."""
    return "".join(text_lines(path, max_bytes))


def text_lines(path: Path, max_bytes: int, newline: str = "\n") -> Iterator[str]:
    """The same line by line, each with its end; `newline` as for `open`. A file is never in memory as a whole."""
    number = 1
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise InputError(
                f"{size:,} bytes is more than the {max_bytes:,} allowed", where=path, hint="is this the right file?"
            )
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            for line in file:
                if "\x00" in line:
                    raise InputError("a NUL byte: this is not a text file", where=f"{path}:{number}")
                yield line
                number += 1
    except UnicodeDecodeError:
        where = f"{path}:{_undecodable(path)}"
        raise InputError("not UTF-8 text", where=where, hint="save the file as UTF-8") from None
    except OSError as error:
        raise InputError(
            f"cannot read the file: {error.strerror}",
            where=path,
            hint="check the path; it is relative to the task file",
        ) from None


def _undecodable(path: Path) -> int:
    """The first line that is not UTF-8; decoding by the block does not say where it is."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


class _Plain:
    """Walks the node tree; SafeLoader's own constructor would forget lines and keep the last of two equal keys."""

    def __init__(self, path: Path, lines: Lines) -> None:
        self.path = path
        self.lines = lines
        self.nodes = 0
        self.scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node, at: tuple[str | int, ...]) -> Any:
        line = node.start_mark.line + 1
        self.nodes += 1
        self.lines.setdefault(at, line)
        if self.nodes > MAX_NODES or len(at) > MAX_DEPTH:
            raise InputError("too large or too deep for a task file", where=f"{self.path}:{line}")
        if node.tag not in PLAIN_TAGS:
            raise InputError(
                f"the tag {node.tag} is not allowed", where=f"{self.path}:{line}", hint="write plain values"
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*at, index)) for index, child in enumerate(node.value)]
        return self.scalars.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, at: tuple[str | int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                raise InputError("keys must be plain words", where=f"{self.path}:{line}")
            key = str(key_node.value)
            if key in found:
                raise InputError(f"`{key}` stands twice", where=f"{self.path}:{line}", hint="keep one of them")
            self.lines[(*at, key)] = line
            found[key] = self.value(value_node, (*at, key))
        return found


def whole(text: str) -> str:
    """The text with `?` for each half of a character that was cut in two: such a half can be written nowhere."""
    return text.encode("utf-8", "replace").decode("utf-8")
