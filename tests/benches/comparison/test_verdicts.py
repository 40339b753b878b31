"""Verdicts in pairs of seeds, thresholds on the true regret, and whether a choice follows the weight."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit.benches import comparison
from labkit.benches.comparison import OURS, Row


@pytest.mark.parametrize("stretch", [1.0, 6.0, 1 / 3])
def test_who_stretches_errors_realises_another_weight(shipped, stretch):
    """Choosing by enumeration as if errors were `stretch` times as large."""
    weights = [stretch * 0.2 * 1.2**i for i in range(20)]
    chosen = [shipped.as_cost(latency_weight=w / stretch).best() for w in weights]
    shares = [shipped.realised_weight(a) / w for a, w in zip(chosen, weights)]
    assert np.exp(np.log(shares).mean()) == pytest.approx(1 / stretch, rel=0.15)


def test_steering_tells_choices_that_follow_the_weight_from_those_that_do_not(shipped):
    weights = [0.2 * 1.2**i for i in range(20)]
    best = [str(shipped.as_cost(latency_weight=w).best()) for w in weights]
    followed = comparison.steering(shipped, [(weights, best)] * 3)
    assert followed.slope == pytest.approx(1, abs=0.15) and followed.low == followed.high == followed.slope
    assert "slope of" in str(followed)
    same = comparison.steering(shipped, [(weights, [best[10]] * 20)])
    assert same.slope == pytest.approx(0, abs=1e-9)
    back = comparison.steering(shipped, [(weights, best[::-1])])
    assert back.slope == pytest.approx(-1, abs=0.15)


def test_the_ends_of_the_front_tell_no_weight(shipped):
    front = [p.architecture for p in shipped.frontier()]
    assert shipped.realised_weight(front[0]) is shipped.realised_weight(front[-1]) is None
    ends = ((0.0, 5.0), (str(front[0]), str(front[-1])))
    assert comparison.steering(shipped, [ends]) is None


def test_verdicts_tell_better_from_worse_from_not_shown(space, table, known, made_up):
    error = torch.linspace(0.1, 0.6, 243, dtype=torch.float64)
    sure = replace(known, test_error=error[:, None].expand(-1, 3))
    verdict = lambda ours, theirs: comparison.verdicts(made_up(ours, theirs, sure), sure)[0]
    better = verdict([1, 2, 3, 1, 2, 3], [11, 13, 15, 14, 16, 19])
    assert better.better and "beats random: yes" in str(better) and 0 < better.low <= better.gain <= better.high
    assert "no, it is worse" in str(verdict([11, 13, 15, 14, 16, 19], [1, 2, 3, 1, 2, 3]))
    assert "not shown" in str(verdict([5, 9, 2, 8, 1, 7], [6, 8, 3, 7, 2, 6]))
    drawn = comparison.drawn(made_up([1, 2, 3, 1, 2, 3], [11, 13, 15, 14, 16, 19], sure), sure)
    assert drawn[4] == ("ours beats random at equal\ncost: yes, p = 0.031, n = 6",)
    unpaired = verdict([1, 100, 200, 50, 150, 240], [3, 102, 202, 52, 152, 242])
    assert unpaired.better, "pairs of a seed, so what the seeds differ by does not hide it"


def test_the_bars_on_true_regret_are_judged_weight_by_weight_and_over_all(space, table, known, made_up):
    """Of four architectures the error is 0, 0.5, 2 and 3 points above the least, of all others far above it."""
    error = torch.full((243,), 0.9, dtype=torch.float64)
    error[:4] = torch.tensor([0.1, 0.105, 0.12, 0.13], dtype=torch.float64)
    sure = replace(known, test_error=error[:, None].expand(-1, 3))
    held = lambda ranks: [holds for _, holds in comparison.regret_thresholds(made_up(ranks, [0], sure), sure)]
    assert held([1] * 9 + [2]) == [True, True]
    assert held([0, 0, 2, 2, 2]) == [False, False], "a median of two points"
    assert held([0] * 8 + [3] * 2) == [False, False], "a 90th percentile of three"
    good, bad = (str(space[i]) for i in (1, 2))
    rows = tuple(Row(OURS, seed, (good, good, bad), 1, 1, 1.0) for seed in range(3))
    several = comparison.Comparison(space, table, (0.0, 1e-9, 2e-9), {}, {}, rows)
    text = comparison.to_text(several, sure)
    assert [holds for _, holds in comparison.regret_thresholds(several, sure)] == [True, True, False, True]
    assert "FAIL weight 2e-09, sweep, selected: true regret 2.00 points in the median, at most 1; 2.00 at the" in text
    assert "ok   all weights, sweep, selected: true regret 0.50 points" in text
    assert comparison.regret_thresholds(replace(several, rows=()), sure) == ()
