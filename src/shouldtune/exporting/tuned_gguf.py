"""A tuned model as one GGUF file: the base's own, every weight that training changed merged and written as float16.

Whole, because Ollama takes adapters no more (since 0.34.1, https://github.com/ollama/ollama/pull/14969) and has always
taken models. float16, because it holds all of a bfloat16 weight and eight times finer steps for what training added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shouldtune.models.gguf_convert import INTERLEAVED, gguf_name, permuted
from shouldtune.models.gguf_file import GgufFile

if TYPE_CHECKING:
    import numpy as np

_MOSTLY_F16 = 1
"""GGUF's `general.file_type`: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"""


def adds_first_token(file: GgufFile) -> bool:
    """Whether llama.cpp puts the first token before every prompt by itself (its src/llama-vocab.cpp)."""
    told = file.fields.get("tokenizer.ggml.add_bos_token")
    if isinstance(told, bool):
        return told
    family, words = (file.fields.get(f"tokenizer.ggml.{name}") for name in ("model", "pre"))
    return family == "llama" or words in ("llama3", "llama-v3", "llama-bpe")


def write_tuned_gguf(
    base: Path, merged: Mapping[str, Callable[[], np.ndarray[Any, Any]]], head_width: int, target: Path
) -> None:
    """Write `base` with some of its weights replaced: `merged` by Hugging Face's names, each computed when called.

    Everything else, the tokenizer included, is copied byte by byte.
    """
    import numpy as np
    from gguf import GGUFReader, GGUFValueType, GGUFWriter

    reader = GGUFReader(base)
    replaced = {gguf_name(name): name for name in merged}
    writer = GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue  # the first two are written by the writer itself
        kind = field.types[0]
        inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
    writer.add_file_type(_MOSTLY_F16)
    writer.data_alignment = reader.alignment
    for tensor in reader.tensors:
        if tensor.name in replaced:
            shape = [int(size) for size in reversed(tensor.shape)]
            writer.add_tensor_info(tensor.name, shape, np.dtype(np.float16), 2 * int(tensor.n_elements))
        else:
            data = tensor.data
            writer.add_tensor_info(tensor.name, data.shape, data.dtype, data.nbytes, tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:
        name = replaced.get(tensor.name)
        writer.write_tensor_data(tensor.data if name is None else _halves(name, merged[name](), head_width))
    writer.close()


def _halves(name: str, values: np.ndarray[Any, Any], head_width: int) -> np.ndarray[Any, Any]:
    import numpy as np

    stored = permuted(values, head_width) if name.endswith(INTERLEAVED) else values
    return np.ascontiguousarray(stored, np.float16)
