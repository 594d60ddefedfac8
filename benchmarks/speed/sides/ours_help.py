"""`shouldtune --help`."""

import sys

from shouldtune.cli import main

sys.argv = ["shouldtune", "--help"]
main()
