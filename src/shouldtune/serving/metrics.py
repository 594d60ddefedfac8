"""What the server has done, in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds."""


class Seconds:
    """How often something took how long."""

    def __init__(self) -> None:
        self.counts = [0] * len(BOUNDS)
        self.count, self.total = 0, 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds
        for place, bound in enumerate(BOUNDS):
            self.counts[place] += seconds <= bound

    def lines(self, name: str) -> Iterator[str]:
        for bound, count in zip(BOUNDS, self.counts, strict=True):
            yield f'{name}_bucket{{le="{bound:g}"}} {count}'
        yield f'{name}_bucket{{le="+Inf"}} {self.count}'
        yield f"{name}_sum {self.total:.6f}"
        yield f"{name}_count {self.count}"


class Metrics:
    """Counted since the start; labels come from closed sets, so that no client can make it grow."""

    def __init__(self, under_way: Callable[[], int] = lambda: 0) -> None:
        self._under_way = under_way
        self.requests: Counter[tuple[str, str]] = Counter()
        """(route, status); the status of a request whose client left is `left`."""
        self.tokens: Counter[str] = Counter()
        self.answer, self.first_token = Seconds(), Seconds()
        self.feedback: list[float] = [0, 0.0]
        """How many scores, and their sum."""
        self.not_kept = 0

    def text(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _head("requests_total", "counter", "Requests by route and status.")
        for (route, status), count in sorted(self.requests.items()):
            yield f'shouldtune_requests_total{{route="{route}",status="{status}"}} {count}'
        yield from _head("requests_under_way", "gauge", "Chat requests that are answered or wait.")
        yield f"shouldtune_requests_under_way {self._under_way()}"
        yield from _head("tokens_total", "counter", "Tokens read (prompt) and written (completion).")
        for kind in ("prompt", "completion"):
            yield f'shouldtune_tokens_total{{kind="{kind}"}} {self.tokens[kind]}'
        yield from _head("answer_seconds", "histogram", "From the whole request to the whole answer.")
        yield from self.answer.lines("shouldtune_answer_seconds")
        yield from _head("first_text_seconds", "histogram", "From the whole request to the first text of a stream.")
        yield from self.first_token.lines("shouldtune_first_text_seconds")
        yield from _head("feedback_score", "summary", "Scores that were told of answers, 0 to 1.")
        yield f"shouldtune_feedback_score_sum {self.feedback[1]:g}"
        yield f"shouldtune_feedback_score_count {self.feedback[0]:g}"
        yield from _head(
            "not_kept_total", "counter", "Answers and feedback that could not be written to the kept file."
        )
        yield f"shouldtune_not_kept_total {self.not_kept}"


def _head(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP shouldtune_{name} {what}"
    yield f"# TYPE shouldtune_{name} {kind}"
