"""`python -m shouldtune.cli`."""

from shouldtune.cli import main

main()
