"""Statistics: numbers in, Interval out.

Every `alpha` is two-sided: the chance that the true value lies outside, on either side. Every `level` is one-sided:
the chance that it lies beyond one end, so both ends at level `a` make the interval at `alpha = 2 * a`.
Scores lie in [0, 1] and differences of scores in [-1, 1]; anything else, and NaN, is refused with ValueError.
No interval here has zero width, and with nothing measured the estimate is None and the limits are the whole range.
Only lower ends are computed: the upper end of x is the mirrored lower end of the mirrored x.

The intervals named here are for a fixed number of examples. Those that hold wherever one stops are in `sequences`, and
in `group_sequences` where examples come in groups.
"""

from shouldtune.stats.bootstrap import bca_interval
from shouldtune.stats.clusters import (
    cluster_error,
    clustered_mean_interval,
    clustered_mean_limits,
    clustered_paired_interval,
    clustered_paired_limits,
)
from shouldtune.stats.judged import Judged, judged_mean
from shouldtune.stats.means import mean_interval, mean_limits
from shouldtune.stats.pairs import paired_interval, paired_limits, tango
from shouldtune.stats.power import (
    examples_for_goal,
    examples_needed,
    graded_examples_needed,
    perfect_proves,
    smallest_visible_gain,
    smallest_visible_graded_gain,
)
from shouldtune.stats.proportions import clopper_pearson, wilson
from shouldtune.stats.samples import mean_pass_at_k, pass_at_k
from shouldtune.stats.seeds import between_seeds, seed_gain_interval, seed_mean_interval
from shouldtune.stats.significance import alpha_at_look, holm, mcnemar_exact, permutation_paired
from shouldtune.stats.values import MaybeScores, ScoreArray, Scores, answered_pairs, differences, filled

__all__ = [
    "Judged",
    "MaybeScores",
    "ScoreArray",
    "Scores",
    "alpha_at_look",
    "answered_pairs",
    "bca_interval",
    "between_seeds",
    "clopper_pearson",
    "cluster_error",
    "clustered_mean_interval",
    "clustered_mean_limits",
    "clustered_paired_interval",
    "clustered_paired_limits",
    "differences",
    "examples_for_goal",
    "examples_needed",
    "filled",
    "graded_examples_needed",
    "holm",
    "judged_mean",
    "mcnemar_exact",
    "mean_interval",
    "mean_limits",
    "mean_pass_at_k",
    "paired_interval",
    "paired_limits",
    "pass_at_k",
    "perfect_proves",
    "permutation_paired",
    "seed_gain_interval",
    "seed_mean_interval",
    "smallest_visible_gain",
    "smallest_visible_graded_gain",
    "tango",
    "wilson",
]
