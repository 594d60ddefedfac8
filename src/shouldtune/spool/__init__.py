"""Rows on disk rather than in memory: sequences whose items are read back when they are asked for.

Examples and answers come one after another and may be more than memory holds. They are written to a scratch file as
they come (files.py), a few bytes a row stay in memory (where each begins), and whoever iterates reads a block at a
time. What is short enough never reaches the disk. Numbers of rows stand in tables (tables.py), read by the column.
"""

from shouldtune.spool.distinct import distinct
from shouldtune.spool.examples import ExampleSpool
from shouldtune.spool.files import ScratchFile
from shouldtune.spool.predictions import Answers, AnswersTo, Figure, figure, keys_of
from shouldtune.spool.rows import Rows, Spool, together
from shouldtune.spool.tables import Table

__all__ = [
    "Answers",
    "AnswersTo",
    "ExampleSpool",
    "Figure",
    "Rows",
    "ScratchFile",
    "Spool",
    "Table",
    "distinct",
    "figure",
    "keys_of",
    "together",
]
