"""`path/to/file.py:name` in a task file: the user's own scorer or documents. No registry, no plug-in manager.

A task file can name code, so code is loaded only from inside the task's own folder, and every file that was
loaded is listed for the user to see.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

from shouldtune.errors import InputError

loaded_files: list[Path] = []
"""Files whose code was run, in order."""


def is_code(name: str) -> bool:
    """Whether a name in a task file means code: `file.py:name`."""
    return re.fullmatch(r".+\.py:[A-Za-z_]\w*", name) is not None


def load_code(name: str, folder: Path, where: str) -> Any:
    """What `file.py:name` names; the file must lie inside `folder`. InputError, also when the file's code fails."""
    file_name, _, attribute = name.rpartition(":")
    path = (folder / file_name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(
            f"{file_name!r} lies outside the task's folder", where=where, hint="copy the file next to the task file"
        )
    if not path.is_file():
        raise InputError(f"there is no file {file_name!r}", where=where, hint="the path is relative to the task file")
    module_name = f"shouldtune_user_{path.stem}_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"cannot import {file_name!r}", where=where)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up here
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = _line_in(error, path)
        raise InputError(f"{type(error).__name__} while loading: {error}", where=f"{path}:{line}") from error
    if path not in loaded_files:
        loaded_files.append(path)
    if not hasattr(module, attribute):
        raise InputError(
            f"{file_name!r} has no {attribute!r}", where=where, hint=f"define `def {attribute}(...)` in it"
        )
    return getattr(module, attribute)


def _line_in(error: Exception, path: Path) -> int:
    if isinstance(error, SyntaxError) and error.lineno:
        return error.lineno
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
