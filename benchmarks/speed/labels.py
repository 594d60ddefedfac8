"""A closed set of 77 labels on a prompt of some 600 tokens, ours beside transformers.

python benchmarks/speed/labels.py [--prompts 4] [--rounds 5]
"""

from __future__ import annotations

import argparse
import random

from side_by_side import OURS, PEERS, Side, compare
from work import DTYPE, model_folder, shared_prefix, write

from shouldtune.models.chat_tokenizer import ChatTokenizer

VERBS = ("cancel", "change", "check", "dispute", "explain", "find", "freeze", "order", "report", "top_up", "verify")
THINGS = ("card", "card_delivery", "card_pin", "exchange_rate", "fee", "transfer_limit", "transfer_status")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    tokenizer = ChatTokenizer(model_folder())
    labels = [tokenizer.encode(f"{verb}_{thing}") for verb in VERBS for thing in THINGS]
    random.Random(0).shuffle(labels)
    prefix, own = shared_prefix(chosen.prompts, 600)
    prompts = [[*prefix, *ids] for ids in own]
    job = write({"folder": str(model_folder()), "dtype": DTYPE, "labels": labels, "prompts": prompts})
    sides = {
        "ours": Side(OURS, "ours_labels.py", job),
        "transformers": Side(PEERS, "transformers_labels.py", job),
    }
    compare("77 labels", sides, chosen.rounds, prompts=len(prompts), labels=len(labels), dtype=DTYPE)


if __name__ == "__main__":
    main()
