"""From measurements to the verdict.

    measurements --columns--> Column --gather--> Evidence --rows--> Finding --sentences--> Verdict

`decide` is the one name that others need.
"""

from __future__ import annotations

from shouldtune.verdict.decide import decide

__all__ = ["decide"]
