"""THE LADDER: one approach a file, cheapest first."""

from __future__ import annotations

from shouldtune.rungs.classic import Classic
from shouldtune.rungs.distil import Distil
from shouldtune.rungs.few_shot import FewShot
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.rungs.fine_tune_retrieval import FineTuneRetrieval
from shouldtune.rungs.fine_tune_shots import FineTuneShots
from shouldtune.rungs.guess import Guess
from shouldtune.rungs.instructions import Instructions
from shouldtune.rungs.native_tools import NativeTools
from shouldtune.rungs.nearest_shots import NearestShotsRung
from shouldtune.rungs.retrieval import Retrieval
from shouldtune.rungs.retrieval_shots import RetrievalShots
from shouldtune.rungs.stronger import Stronger
from shouldtune.rungs.structured import Structured
from shouldtune.rungs.zero_shot import ZeroShot
from shouldtune.types import Rung

LADDER: tuple[Rung, ...] = (
    Guess(),
    Classic(),
    ZeroShot(),
    Structured(),
    NativeTools(),
    Instructions(),
    FewShot(),
    NearestShotsRung(),
    Retrieval(),
    RetrievalShots(),
    Stronger(),
    FineTune(),
    FineTuneRetrieval(),
    FineTuneShots(),
    Distil(),
)
