"""Cohen's kappa: known values, its interval against statsmodels, and how often that misses."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from shouldtune.stats.agreement import cohen_kappa


def raters(both: int, first: int, second: int, neither: int) -> tuple[list[bool], list[bool]]:
    cells = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    return [a for a, _ in cells], [b for _, b in cells]


@pytest.mark.parametrize(
    ("cells", "wanted"), [((20, 5, 10, 15), 0.4), ((10, 0, 0, 10), 1.0), ((0, 10, 10, 0), -1.0), ((5, 5, 5, 5), 0.0)]
)
def test_kappa_has_known_values(cells: tuple[int, int, int, int], wanted: float) -> None:
    assert cohen_kappa(*raters(*cells), 0.05).estimate == pytest.approx(wanted)


def test_for_many_answers_the_interval_is_that_of_statsmodels() -> None:
    cells = (4000, 700, 900, 4400)
    found = cohen_kappa(*raters(*cells), 0.05)
    wanted = cohens_kappa(np.array([[cells[0], cells[1]], [cells[2], cells[3]]]))
    assert found.estimate == pytest.approx(wanted.kappa)
    assert (found.low, found.high) == pytest.approx((wanted.kappa_low, wanted.kappa_upp), abs=2e-4)


def test_where_chance_explains_everything_kappa_is_unknown() -> None:
    for cells in ((10, 0, 0, 0), (0, 0, 0, 0)):
        found = cohen_kappa(*raters(*cells), 0.05)
        assert (found.estimate, found.low, found.high) == (None, -1.0, 1.0)
    assert cohen_kappa(*raters(30, 0, 0, 30), 0.05).low < 0.99  # full agreement is no proof of it


def test_raters_of_different_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 answers"):
        cohen_kappa([True, False], [True], 0.05)


@pytest.mark.parametrize(("yes", "agree", "n"), [(0.5, 0.8, 40), (0.8, 0.9, 60), (0.5, 0.5, 40), (0.7, 0.97, 50)])
def test_the_interval_misses_about_as_often_as_it_may(yes: float, agree: float, n: int) -> None:
    draw = np.random.default_rng(1)
    truth_a = draw.random(10**6) < yes
    truth_b = np.where(draw.random(10**6) < agree, truth_a, ~truth_a)
    chance = truth_a.mean() * truth_b.mean() + (1 - truth_a.mean()) * (1 - truth_b.mean())
    kappa = ((truth_a == truth_b).mean() - chance) / (1 - chance)
    missed = 0
    for _ in range(1000):
        a = draw.random(n) < yes
        b = np.where(draw.random(n) < agree, a, ~a)
        found = cohen_kappa(a.tolist(), b.tolist(), 0.05)
        missed += not found.low <= kappa <= found.high
    assert missed / 1000 <= 0.07
