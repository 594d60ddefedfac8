"""One PDF, Word or HTML file to plain text. Run as a program, in a child process that may be killed; see parsed.py.

It imports nothing of the package, so that a child starts quickly and a hostile file finds little.

    python parsing.py SECONDS BYTES FILE...     prints one JSON object a file, in order:
        {"title": ..., "text": ..., "pages": [...]}  or  {"error": why not, in one line}
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import ZipFile

MOST_CHARACTERS = 50_000_000
"""A text longer than this is not one that answers are drawn from."""
NO_TEXT = "it holds no text (scanned pages need a reader of images first)"
SKIPPED = re.compile("aside|footer|form|head|header|iframe|nav|noscript|script|style|svg|template")
BLOCKS = re.compile(
    "address|article|blockquote|body|d[dlt]|details|div|fig(caption|ure)|h[1-6]|hr|li|main|[ou]l|p|pre|section|summary|"
    "table|tr"
)


class Unreadable(Exception):
    """Why a file gives no text, in one line."""


def parse(path: Path) -> dict[str, Any]:
    """Title, text and, where there are pages, at which character each starts. Raises Unreadable and whatever else."""
    kind = path.suffix.lower()
    found = _pdf(path) if kind == ".pdf" else _docx(path) if kind == ".docx" else _html(path)
    if not str(found["text"]).strip():
        raise Unreadable(NO_TEXT if kind == ".pdf" else "it holds no text")
    if len(found["text"]) > MOST_CHARACTERS:
        raise Unreadable(f"its text is longer than {MOST_CHARACTERS:,} characters")
    return found


def _pdf(path: Path) -> dict[str, Any]:
    from pypdf import PdfReader

    reader = PdfReader(path)
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("it is encrypted")
    text, pages = "", []
    for page in reader.pages:
        pages.append(len(text))
        text += _tidy(page.extract_text()) + "\n\n"
    named = reader.metadata.title if reader.metadata is not None else None
    return {"title": str(named or ""), "text": text.rstrip(), "pages": pages}


def _docx(path: Path) -> dict[str, Any]:
    import mammoth

    with ZipFile(path) as parts:
        size = sum(part.file_size for part in parts.infolist())
        if size > 20 * MOST_CHARACTERS:
            raise Unreadable(f"it unpacks to {size:,} bytes")
    with path.open("rb") as file:
        return {"title": "", "text": _tidy(mammoth.extract_raw_text(file).value)}


def _html(path: Path) -> dict[str, Any]:
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(_decoded(path.read_bytes()))
    named = tree.css_first("title") or tree.css_first("h1")
    title = " ".join(named.text().split()) if named is not None else ""
    return {"title": title, "text": _tidy("".join(_spoken(tree.body)) if tree.body is not None else "")}


def _spoken(body: Any) -> Iterator[str]:
    """The text of a page as it is read: blocks apart, menus and scripts left out. No recursion: pages nest deeply."""
    waiting: list[Any] = [body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            yield node
        elif node.tag == "-text":
            yield re.sub(r"\s+", " ", node.text_content or "")
        elif node.tag == "br":
            yield "\n"
        elif not SKIPPED.fullmatch(node.tag) and not node.tag.startswith("-"):
            around = "\n\n" if BLOCKS.fullmatch(node.tag) else "\t" if node.tag in ("td", "th") else ""
            waiting += [around, *reversed(list(node.iter(include_text=True))), around]


def _decoded(raw: bytes) -> str:
    """By its byte-order mark, by what its head says, as UTF-8, or else as Windows does."""
    said = re.search(rb"charset=[\"']?([\w-]{2,40})", raw[:4096])
    names = ["utf-8-sig", *([said.group(1).decode("ascii")] if said else []), "cp1252"]
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        names.insert(0, "utf-16")
    for name in names:
        try:
            return raw.decode(name)
        except (UnicodeError, LookupError):
            continue
    return raw.decode("latin-1")


def _tidy(text: str) -> str:
    """Lines without trailing blanks, at most one empty line between paragraphs, no NUL, no lone surrogates."""
    text = text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    text = re.sub(r"[ \t\r\f\v]+\n", "\n", text.replace("\r\n", "\n"))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\n[ \t]+", "\n", text)).strip()


def _bound(most_bytes: int) -> None:
    """No more memory than this, where the system can hold a process to it."""
    try:
        import resource
    except ImportError:
        return
    for kind, most in ((resource.RLIMIT_AS, most_bytes), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]  # a batch system may hold us to less already
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (soft, hard))


def main() -> None:
    seconds, most_bytes, *names = sys.argv[1:]
    _bound(int(most_bytes))
    alarm = getattr(signal, "alarm", lambda _: None)  # it kills even in the midst of compiled code
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for name in names:
        alarm(int(seconds))
        try:
            found = parse(Path(name))
        except Unreadable as error:
            found = {"error": str(error)}
        except (MemoryError, RecursionError) as error:
            found = {"error": "too large" if isinstance(error, MemoryError) else "nested too deeply"}
        except Exception as error:  # whatever a broken file makes a library raise
            found = {"error": f"it is broken ({type(error).__name__}: {' '.join(str(error).split())[:120]})"}
        alarm(0)
        print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    main()
