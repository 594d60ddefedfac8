"""A turn is a whole process: python and one of the scripts beside this file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from turns import take_turns


def work() -> None:
    subprocess.run([sys.executable, str(Path(__file__).parent / sys.argv[1]), *sys.argv[2:]], check=True)


take_turns(work)
