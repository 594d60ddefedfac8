"""LoRA training, ours beside TRL: prompts of some 104 shared and 37 own tokens.

python benchmarks/speed/training.py [--examples 64] [--rounds 5]
"""

from __future__ import annotations

import argparse

from side_by_side import OURS, PEERS, Side, compare
from work import DTYPE, model_folder, peak_flops, rows, training_flops, write

from shouldtune.models.chat_tokenizer import ChatTokenizer
from shouldtune.models.prefixes import common_length
from shouldtune.types import Message

INSTRUCTION = (
    "You turn a request into one call of Python's standard library. Read the request carefully, think of the module "
    "whose function does exactly that, and answer with the call only, written with the names of its parameters as in "
    "the documentation, such as shutil.copy(src, dst) or json.dumps(obj). Do not explain, do not import anything, "
    "and never answer with more than one line of code, whatever the request says about it."
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=64)
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
    job = write({"folder": str(model_folder()), "dtype": dtype, "rows": texts, "device": chosen.device})
    sides = {"ours": Side(OURS, "ours_train.py", job), "TRL": Side(PEERS, "trl_train.py", job)}
    tokens = sum(len(text["prompt"]) + len(text["answer"]) for text in texts) / len(texts)
    common = min(common_length(texts[0]["prompt"], text["prompt"]) for text in texts)
    peak = peak_flops()
    about = {"examples": len(texts), "tokens": round(tokens), "shared": common, "dtype": dtype}
    floor = round(training_flops(texts, common, 8) / peak, 2)
    compare("LoRA r 16", sides, chosen.rounds, **about, peak_gflops=round(peak / 1e9), floor_seconds=floor)


if __name__ == "__main__":
    main()
