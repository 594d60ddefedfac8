"""How long until something happens: `--help` beside a bare typer application, a first answer beside transformers.

python benchmarks/speed/start.py [--rounds 5]
"""

from __future__ import annotations

import argparse

from side_by_side import OURS, PEERS, Side, compare
from work import DTYPE, model_folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    sides = {
        "ours": Side(OURS, "whole_process.py", "ours_help.py"),
        "bare typer": Side(OURS, "whole_process.py", "bare_typer.py"),
    }
    compare("--help, whole process", sides, rounds)
    sides = {
        "ours": Side(OURS, "whole_process.py", "ours_first_answer.py"),
        "transformers": Side(PEERS, "whole_process.py", "transformers_first_answer.py", str(model_folder()), DTYPE),
    }
    compare("first answer, whole process", sides, rounds, dtype=DTYPE)


if __name__ == "__main__":
    main()
