"""LoRA training, ours beside TRL: prompts of some 104 shared and 37 own tokens.

All start from one adapter, which we write in peft's format, and read the same texts in the same order, so that the
losses can be held beside each other step by step. With `--epochs` the curve is longer; with `--float32` TRL trains
once more without bfloat16: how far its own two curves lie apart is the noise that ours is to be held against.

python benchmarks/speed/training.py [--examples 64] [--epochs 1] [--rounds 5] [--float32]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from side_by_side import OURS, PEERS, Side, compare
from work import DTYPE, model_folder, peak_flops, rows, training_flops, write

from shouldtune.models.adapter import SETTINGS, WEIGHTS, peft_settings
from shouldtune.models.chat_tokenizer import ChatTokenizer
from shouldtune.models.prefixes import common_length
from shouldtune.types import Message

INSTRUCTION = (
    "You turn a request into one call of Python's standard library. Read the request carefully, think of the module "
    "whose function does exactly that, and answer with the call only, written with the names of its parameters as in "
    "the documentation, such as shutil.copy(src, dst) or json.dumps(obj). Do not explain, do not import anything, "
    "and never answer with more than one line of code, whatever the request says about it."
)


RANK, ALPHA = 16, 32


def first_adapter() -> str:
    """A folder with the adapter that every side starts from, in peft's format."""
    import torch
    from safetensors.torch import save_file

    from shouldtune.models.llama import Llama
    from shouldtune.tuning.trainable import TrainableLora

    folder = Path(tempfile.mkdtemp())
    lora = TrainableLora(Llama(model_folder(), dtype=torch.float32), RANK, ALPHA, seed=0)
    save_file({name: value.contiguous() for name, value in lora.tensors().items()}, folder / WEIGHTS, {"format": "pt"})
    (folder / SETTINGS).write_text(json.dumps(peft_settings(RANK, ALPHA, str(model_folder()))), encoding="utf-8")
    return str(folder)


def apart(curves: dict[str, list[float]]) -> dict[str, Any]:
    """How far the other curves lie from the first, step by step."""
    (name, first), *others = curves.items()
    found: dict[str, Any] = {"subject": "losses, step by step", "of": name, "steps": len(first), "mean": _mean(first)}
    for other, curve in others:
        gaps = [a - b for a, b in zip(first, curve, strict=True)]
        found[other] = {"mean": _mean(curve), "apart": _mean(map(abs, gaps)), "at_most": max(map(abs, gaps))}
    return found


def _mean(values: Any) -> float:
    return round(statistics.fmean(values), 4)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    tokenizer = ChatTokenizer(model_folder())
    texts = []
    for row in rows("python-api")[: chosen.examples]:
        messages = [Message("system", INSTRUCTION), Message("user", row["input"])]
        texts.append(
            {
                "prompt": tokenizer.prompt(messages),
                "prompt_text": tokenizer.render(messages, for_answer=True),
                "answer": [*tokenizer.encode(row["target"]), tokenizer.end_of_turn()],
                "answer_text": row["target"] + "<|im_end|>",
            }
        )
    dtype = "bfloat16" if chosen.device == "cuda" else DTYPE
    job = {"folder": str(model_folder()), "device": chosen.device, "rows": texts * chosen.epochs}
    job |= {"rank": RANK, "alpha": ALPHA, "adapter": first_adapter()}
    named = write({**job, "dtype": dtype})
    sides = {"ours": Side(OURS, "ours_train.py", named), "TRL": Side(PEERS, "trl_train.py", named)}
    if chosen.float32:
        sides["TRL float32"] = Side(PEERS, "trl_train.py", write({**job, "dtype": "float32"}))
    tokens = sum(len(text["prompt"]) + len(text["answer"]) for text in texts) / len(texts)
    common = min(common_length(texts[0]["prompt"], text["prompt"]) for text in texts)
    peak = peak_flops()
    about: dict[str, Any] = {"examples": len(texts), "epochs": chosen.epochs, "tokens": round(tokens), "shared": common}
    floor = round(chosen.epochs * training_flops(texts, common, 8) / peak, 2)
    about |= {"dtype": dtype, "peak_gflops": round(peak / 1e9), "floor_seconds": floor}
    result = compare("LoRA r 16", sides, chosen.rounds, **about)
    print(json.dumps(apart({name: told["losses"] for name, told in result["told"].items()})))


if __name__ == "__main__":
    main()
