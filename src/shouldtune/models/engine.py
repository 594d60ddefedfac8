"""Which arithmetic computes a local model, and its weights in memory: loaded late, loaded once.

Importing this module imports nothing heavy; torch comes with the first `load_base`.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shouldtune.errors import InputError, ModelUnavailable
from shouldtune.models import gguf_cache

if TYPE_CHECKING:
    from shouldtune.models.adapter import LoraAdapter
    from shouldtune.models.chat_tokenizer import ChatTokenizer
    from shouldtune.models.constraint import Grammars
    from shouldtune.models.generation import Generator
    from shouldtune.models.label_trie import LabelTrie
    from shouldtune.models.llama import Llama

COMPUTE = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shouldtune-engine")
"""The one thread on which answers and training are computed: two at once would only slow each other down, and
OpenMP keeps a team of threads for every thread that calls it."""

CUDA = "torch-bf16-cuda"
"""The engine's name where a GPU computes."""
PACKAGES = ("torch", "numpy", "tokenizers", "safetensors", "jinja2", "llguidance")
_MOST_BASES, _MOST_ADAPTERS = 2, 4
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""glibc's names in malloc.h."""


@dataclass(frozen=True)
class Engine:
    """How a model is computed: part of its identity, since answers differ between engines."""

    dtype: str
    device: str = "cpu"

    @property
    def name(self) -> str:
        """`torch-bf16`, `torch-fp32`, `torch-bf16-cuda`."""
        short = {"bfloat16": "bf16", "float32": "fp32"}[self.dtype]
        return f"torch-{short}" + ("" if self.device == "cpu" else f"-{self.device}")

    @classmethod
    def named(cls, name: str) -> Engine:
        """The engine of that name. Raises InputError for another name."""
        for dtype in ("bfloat16", "float32"):
            for device in ("cpu", "cuda"):
                if (engine := cls(dtype, device)).name == name:
                    return engine
        raise InputError(f"{name!r} is no engine", hint="torch-bf16, torch-fp32, torch-bf16-cuda or torch-fp32-cuda")

    @classmethod
    def fastest(cls) -> Engine:
        """The quicker type of this machine's CPU, without importing torch.

        bfloat16 halves the memory and triples the speed where the CPU multiplies it in hardware; where it does
        not, every product is emulated and some seven times slower than float32.
        """
        try:
            flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
        except OSError:  # not Linux
            flags = []
        return cls("bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32")


def torch_knows_cuda() -> bool:
    """Whether the torch that is installed was built for GPUs, told without the seconds that importing it takes."""
    found = importlib.util.find_spec("torch")
    places = (found.submodule_search_locations or ()) if found else ()
    return any(list(Path(place).glob("lib/libtorch_cuda*")) for place in places)


def prepare_process() -> None:
    """Settle how this process computes, before torch is imported; again does no harm.

    OpenMP's threads spin while they wait for work: without end, a machine that is busy otherwise is ten times slower;
    hardly at all, training is a third slower. oneDNN keeps the code of every shape of product that it met, hundreds of
    megabytes; those of one batch are enough. Memory that was freed is kept until `give_memory_back`: given back at
    once, as glibc does with what is large, the kernel would zero the next layer's activations page by page once more.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "100000")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
    if (adjust := _glibc("mallopt")) is not None:
        adjust(_M_MMAP_THRESHOLD, 32 << 20)
        adjust(_M_TRIM_THRESHOLD, 2**31 - 1)
    _import_torch()


def give_memory_back() -> None:
    """Give what is free back to the system: after a batch and after an epoch, so that what one leaves in pieces does
    not add to the peak of the next."""
    if (trim := _glibc("malloc_trim")) is not None:
        trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library; None where it is another one."""
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None
    return found


def _import_torch() -> None:
    """Import torch without looking for garbage in it: there is none, and the search takes a tenth of a second now and
    three tenths when the process ends."""
    was_on = gc.isenabled()
    gc.disable()
    import torch  # noqa: F401

    gc.freeze()
    if was_on:
        gc.enable()


class Base:
    """One set of base weights in memory, shared by a model and its tuned variants."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        """Load tokenizer and weights, about two seconds. Raises ModelUnavailable."""
        gguf_cache.check_packages(PACKAGES)
        prepare_process()
        import torch

        from shouldtune.models.chat_tokenizer import ChatTokenizer
        from shouldtune.models.generation import Generator
        from shouldtune.models.llama import Llama

        with ThreadPoolExecutor(max_workers=1) as beside:
            tokenizer = beside.submit(ChatTokenizer, folder)
            self.model: Llama = Llama(folder, dtype=getattr(torch, engine.dtype), device=engine.device)
        self.tokenizer: ChatTokenizer = tokenizer.result()
        self.generator: Generator = Generator(self.model, self.tokenizer.decode)
        self._adapters: OrderedDict[str, LoraAdapter] = OrderedDict()
        self._grammars: Grammars | None = None
        self._tries: dict[tuple[str, ...], LabelTrie] = {}

    @property
    def grammars(self) -> Grammars:
        from shouldtune.models.constraint import Grammars

        if self._grammars is None:
            self._grammars = Grammars(self.tokenizer)
        return self._grammars

    def label_trie(self, labels: tuple[str, ...]) -> LabelTrie:
        """The tree of a closed label set's tokens. Raises InputError when two labels are the same."""
        from shouldtune.models.label_trie import LabelTrie

        if labels not in self._tries:
            ids = [tuple(self.tokenizer.encode(label)) for label in labels]
            if len(set(ids)) < len(ids) or () in ids:
                raise InputError("the labels to choose from must be different and not empty")
            self._tries[labels] = LabelTrie.of(ids, self.tokenizer.end_of_turn())
        return self._tries[labels]

    def adapter(self, folder: Path, sha256: str) -> LoraAdapter:
        """The adapter in `folder`, from memory if it was used lately. Raises ModelUnavailable if it changed."""
        from shouldtune.models.adapter import LoraAdapter, adapter_sha256

        if sha256 not in self._adapters:
            if adapter_sha256(folder) != sha256:
                raise ModelUnavailable("the adapter's files have changed since it was made", where=folder)
            model = self.model
            self._adapters[sha256] = LoraAdapter(folder, model.config, dtype=model.dtype, device=model.device)
            while len(self._adapters) > _MOST_ADAPTERS:
                self._adapters.popitem(last=False)
        self._adapters.move_to_end(sha256)
        return self._adapters[sha256]


_BASES: OrderedDict[tuple[Path, Engine], Base] = OrderedDict()


def load_base(folder: Path, engine: Engine) -> Base:
    """The base weights of a folder, loaded once in a process. Call it on COMPUTE. Raises ModelUnavailable."""
    key = (folder, engine)
    if key not in _BASES:
        while len(_BASES) >= _MOST_BASES:
            _BASES.popitem(last=False)
        _BASES[key] = Base(folder, engine)
    _BASES.move_to_end(key)
    return _BASES[key]
