"""Past one machine: a model's calls and trainings over Ray's workers (extra [ray]).

The driver keeps the ledger, the budget and the verdict; a worker holds a model and answers. So there is one writer, one
wall over all workers, and nothing that a dead worker could take with it but the calls that it had under way.
"""

from __future__ import annotations

from shouldtune.workers.on import On
from shouldtune.workers.opener import Opener

__all__ = ["On", "Opener"]
