"""Generation: a shared prefix and distinct prompts, ours beside transformers and openvino-genai.

python benchmarks/speed/generation.py [--prompts 100] [--rounds 5]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from side_by_side import OURS, PEERS, Side, compare
from work import DTYPE, distinct, generation_flops, model_folder, peak_flops, shared_prefix, write


def float16_gguf() -> str:
    """The embedded model requantised, written once into a temporary folder."""
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, dequantize

    from shouldtune.models.gguf_cache import smollm2_gguf

    target = Path(tempfile.gettempdir()) / "shouldtune-benchmark-f16.gguf"
    if target.exists():
        return str(target)
    reader = GGUFReader(smollm2_gguf())
    writer = GGUFWriter(target.with_suffix(".new"), "llama")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], inner)
    writer.add_file_type(1)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        small = tensor.tensor_type != GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, values.astype("float16") if small else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    target.with_suffix(".new").replace(target)
    return str(target)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", nargs="*", default=[])
    chosen = parser.parse_args()
    prefix, own = shared_prefix(chosen.prompts)
    peak = peak_flops()
    about: dict[str, Any] = {"folder": str(model_folder()), "dtype": DTYPE, "gguf": float16_gguf()}
    for subject, prompts, new, shared in (
        ("generation, shared prefix", [[*prefix, *ids] for ids in own], 16, len(prefix)),
        ("generation, distinct prompts", distinct(chosen.prompts), 32, 0),
    ):
        job = write({**about, "prompts": prompts, "new": new, "shared": shared})
        sides = {
            "ours": (OURS, "ours_generate.py"),
            "transformers": (PEERS, "transformers_generate.py"),
            "openvino-genai": (PEERS, "openvino_generate.py"),
        }
        started = {name: Side(*side, job) for name, side in sides.items() if name not in chosen.without}
        tokens = sum(map(len, prompts)) / len(prompts)
        floor = round(generation_flops(prompts, new, shared) / peak, 2)
        about_work = {"prompts": len(prompts), "prompt_tokens": round(tokens), "new": new, "dtype": DTYPE}
        compare(subject, started, chosen.rounds, **about_work, peak_gflops=round(peak / 1e9), floor_seconds=floor)


if __name__ == "__main__":
    main()
