"""The documents of this task: one for each public function of the installed Python's standard library.

They are made from the docstrings on the machine where the task runs, so they always speak of the Python at hand.
"""

import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType

from shouldtune.types import Document

MODULES = [
    "ast",
    "base64",
    "bisect",
    "calendar",
    "cmath",
    "codecs",
    "collections",
    "colorsys",
    "copy",
    "csv",
    "difflib",
    "dis",
    "email.utils",
    "filecmp",
    "fileinput",
    "fnmatch",
    "fractions",
    "functools",
    "gc",
    "getpass",
    "glob",
    "gzip",
    "hashlib",
    "heapq",
    "hmac",
    "html",
    "importlib",
    "inspect",
    "io",
    "ipaddress",
    "itertools",
    "json",
    "keyword",
    "linecache",
    "locale",
    "math",
    "mimetypes",
    "operator",
    "os",
    "os.path",
    "pathlib",
    "pickle",
    "pkgutil",
    "platform",
    "pprint",
    "quopri",
    "random",
    "re",
    "secrets",
    "shelve",
    "shlex",
    "shutil",
    "signal",
    "site",
    "socket",
    "sqlite3",
    "ssl",
    "stat",
    "statistics",
    "string",
    "struct",
    "subprocess",
    "sys",
    "sysconfig",
    "tarfile",
    "tempfile",
    "textwrap",
    "threading",
    "time",
    "timeit",
    "token",
    "tokenize",
    "traceback",
    "types",
    "unicodedata",
    "urllib.parse",
    "urllib.request",
    "uuid",
    "warnings",
    "wave",
    "weakref",
    "webbrowser",
    "zipfile",
    "zlib",
]

REPLACED = ("inspect.getfile",)
"""Functions in whose place other libraries put their own, so that they would be there or not by what was imported."""


def documents() -> list[Document]:
    """Every documented public function whose signature is known, once, under the name of the module that lists it."""
    return [document for name in MODULES for document in _of_module(name, importlib.import_module(name))]


def _of_module(module_name: str, module: ModuleType) -> Iterator[Document]:
    public = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    for name in sorted(set(public)):
        function = getattr(module, name, None)
        if inspect.isclass(function) or not callable(function) or f"{module_name}.{name}" in REPLACED:
            continue
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            continue
        summary = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ").strip()
        if not summary:
            continue
        required = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        call = f"{module_name}.{name}({', '.join(required)})"
        yield Document(id=f"{module_name}.{name}", title=call, text=summary[:200], meta={"api_call": call})
