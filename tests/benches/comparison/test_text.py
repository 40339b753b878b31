"""A comparison as text and as what its figure takes: every number against a recomputation."""

import numpy as np
import pytest

import labkit as lk
from labkit import stats
from labkit.benches import comparison
from labkit.benches.comparison import OURS


def test_the_text_says_what_was_made_when_with_what_and_how_far_seeds_lie_apart(shipped):
    found = comparison.load("five_layer-comparison")
    latency = shipped.latency_like(found.table.card).name
    text = comparison.to_text(found, shipped, latency).split("\n")
    assert text[0].startswith("five_layer on glyphs-hard, 10 seeds, latencies of AMD EPYC, onnxruntime, float32")
    sittings = (*found.made["earlier"], found.made)
    for line, made in zip(text[1:], sittings):
        assert line.startswith(f"made {made['date']} on {made['device']} ")
    assert not text[1 + len(sittings)].startswith("made")
    assert "torch 2.13.0+cpu" in text[1]
    regrets = 100 * comparison.regrets(found, OURS, shipped, latency)
    (line,) = (line for line in text if line.startswith(OURS) and "+-" in line)
    for mean, sd in zip(regrets.mean(0), regrets.std(0, ddof=1)):
        assert f"{mean:.2f} +- {sd:.2f}" in line
    assert [line[:4] for line in text if "true regret" in line] == ["ok  "] * 5


def test_of_a_comparison_that_is_under_way_there_is_told_what_there_is(space, table, known, made_up):
    told = lambda ours, theirs: comparison.to_text(made_up(ours, theirs, known), known)
    one = told([1], [2])
    assert one.count("\n") == 7 and "a verdict takes two seeds, and there is 1" in one and "beats" not in one
    uneven = told([1, 2, 3], [2])
    assert "random has 1 of 3 seeds, and no verdict" in uneven and "beats" not in uneven
    whole = told([1, 2], [2, 4])
    assert "beats random" in whole and "no verdict" not in whole
    with pytest.raises(lk.InputError, match="at least 2 of them; got 1"):
        stats.mean_interval(np.array([0.1]))


def test_every_cell_is_a_median_and_a_90th_percentile_of_the_seeds(known, made_up):
    made = made_up([1, 5, 9], [20, 40, 60], known)
    lines = {line[:24].strip(): line for line in comparison.to_text(made, known).split("\n")}
    for method in (OURS, "random"):
        lost = 100 * comparison.regrets(made, method, known)[:, 0]
        cell = f"{np.median(lost):9.2f} ({np.quantile(lost, 0.9):5.2f})"
        first = next(line for line in comparison.to_text(made, known).split("\n") if line.startswith(f"{method:24} "))
        assert first[25:].startswith(cell) and first.split()[-2:] == ["1", "1"], "seconds and evaluated"
        assert f"{lost.mean():9.2f} +- {lost.std(ddof=1):4.2f}".strip() in lines[method]


def test_what_is_drawn_is_in_points(known, made_up):
    made = made_up([1, 5], [20, 40], known)
    costs, weights, ours, what, says = comparison.drawn(made, known)
    assert weights == (0.0,) and ours == OURS and what == "true regret (points)"
    assert list(costs) == [OURS, "random"] and len(says) == 1
    for method, values in costs.items():
        assert values == pytest.approx(100 * comparison.regrets(made, method, known))
