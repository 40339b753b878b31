"""Predictors of whole latencies against planted ones, scikit-learn, and refits by brute force."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge

import labkit as lk
from labkit.latency import additivity, predictors
from labkit.latency.additivity import Timed, report, score
from labkit.latency.build import load_networks
from labkit.latency.predictors import PairResidual, Ridge, ScaledSum, SumOfParts
from labkit.latency.table import shipped_table
from labkit.system.errors import InputError


def planted(space, table, *, noise=0.0, pair=0.03, seed=0):
    """Milliseconds of all: the table's sum, cheaper where a large convolution follows a pooling, and noisy."""
    draw = torch.Generator().manual_seed(seed)
    ms = []
    for a in space:
        fused = sum(first == "maxpool3x3" and then == "conv5x5" for first, then in zip(a.ops, a.ops[1:]))
        error = 1 + noise * torch.randn((), generator=draw).item()
        ms.append((table.table_ms(a) + 0.02 - pair * fused) * error)
    return torch.tensor(ms, dtype=torch.float64)


@pytest.fixture
def split(space):
    order = torch.randperm(space.size, generator=torch.Generator().manual_seed(1)).tolist()
    return order[:120], order[120:]


def encoded(space, rows):
    return torch.stack([space.encode(space[i]) for i in rows]).double()


def test_ridge_is_that_of_scikit_learn(space, table, split):
    fit, test = split
    ms = planted(space, table, noise=0.03)
    ours = Ridge.fit(space, [space[i] for i in fit], ms[fit].tolist(), penalty=0.1)
    x = encoded(space, fit).flatten(1).numpy()
    scale = np.mean(np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2)
    theirs = SklearnRidge(alpha=0.1 * scale).fit(x, ms[fit].numpy())
    there = theirs.predict(encoded(space, test).flatten(1).numpy())
    assert ours(encoded(space, test)).numpy() == pytest.approx(there, rel=1e-9)


def test_left_out_residuals_are_those_of_refitting_without_the_row(space, table):
    architectures = space.sample(25, torch.Generator().manual_seed(2))
    ms = torch.tensor([table.table_ms(a) for a in architectures], dtype=torch.float64)
    ms = ms * (1 + 0.1 * torch.rand(25, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    x = torch.stack([space.encode(a) for a in architectures]).double().flatten(1)
    found = predictors._ridge(x, ms, (0.3,))
    alpha = 0.3 * np.mean(np.linalg.svd((x - x.mean(0)).numpy(), compute_uv=False) ** 2)
    for row in range(0, 25, 6):
        others = [i for i in range(25) if i != row]
        again = SklearnRidge(alpha=alpha).fit(x[others].numpy(), ms[others].numpy())
        assert found.left_out[row].item() == pytest.approx(
            (ms[row] - again.predict(x[[row]].numpy())[0]).item(), rel=1e-6
        )


def test_the_penalty_is_the_one_that_errs_least_when_left_out(space, table, split):
    fit, _ = split
    ms = planted(space, table, noise=0.2)
    x = encoded(space, fit[:25]).flatten(1)
    chosen = predictors._ridge(x, ms[fit[:25]], predictors.PENALTIES)
    errors = [predictors._ridge(x, ms[fit[:25]], (p,)).left_out.square().sum() for p in predictors.PENALTIES]
    assert chosen.penalty == predictors.PENALTIES[int(torch.stack(errors).argmin())]


def test_a_scaled_sum_is_the_straight_line_of_numpy(space, table, split):
    fit, test = split
    ms = planted(space, table, noise=0.03)
    ours = ScaledSum.fit(table, [space[i] for i in fit], ms[fit].tolist())
    sums = lambda rows: np.array([table.table_ms(space[i]) for i in rows])
    factor, constant = np.polyfit(sums(fit), ms[fit].numpy(), 1)
    assert (ours.factor, ours.constant) == pytest.approx((factor, constant), rel=1e-6)
    assert ours(encoded(space, test)).numpy() == pytest.approx(factor * sums(test) + constant)


def test_a_scaled_sum_takes_out_what_calling_parts_alone_costs(space, table, split):
    """Every part timed alone pays for a call that the whole network saves: a factor and a constant mend that."""
    fit, test = split
    whole = torch.tensor([0.7 * table.table_ms(a) + 0.01 for a in space], dtype=torch.float64)
    architectures, timed = [space[i] for i in fit], whole[fit].tolist()
    worst = lambda p: ((p(encoded(space, test)) - whole[test]).abs() / whole[test]).max().item()
    assert worst(ScaledSum.fit(table, architectures, timed)) < 1e-9
    assert worst(SumOfParts.fit(table, architectures, timed)) > 0.1
    same = ScaledSum.fit(table, [space[0]] * 12, [1.0] * 12)
    assert (same.factor, same.constant) == (0.0, 1.0), "one network says nothing of a factor"


def test_pairs_find_what_neighbours_do_to_each_other_and_a_sum_cannot(space, table, split):
    fit, test = split
    ms = planted(space, table)
    architectures, timed = [space[i] for i in fit], ms[fit].tolist()
    worst = lambda p: ((p(encoded(space, test)) - ms[test]).abs() / ms[test]).max().item()
    assert worst(PairResidual.fit(space, table, architectures, timed)) < 0.01
    assert worst(Ridge.fit(space, architectures, timed)) > 0.02
    assert worst(SumOfParts.fit(table, architectures, timed)) > 0.05


@pytest.mark.parametrize("kind", ["sum", "scaled", "ridge", "pairs"])
def test_nine_new_networks_in_ten_lie_in_the_interval(space, table, split, kind):
    """By the binomial law 90 % of 123 is 111 +- 3.3; four of those are allowed."""
    fit, test = split
    ms = planted(space, table, noise=0.05, pair=0.0)
    architectures, timed = [space[i] for i in fit], ms[fit].tolist()
    predictor = {
        "sum": lambda: SumOfParts.fit(table, architectures, timed),
        "scaled": lambda: ScaledSum.fit(table, architectures, timed),
        "ridge": lambda: Ridge.fit(space, architectures, timed),
        "pairs": lambda: PairResidual.fit(space, table, architectures, timed),
    }[kind]()
    low, high = predictor.interval(encoded(space, test))
    inside = ((low <= ms[test]) & (ms[test] <= high)).double().mean().item()
    assert 0.9 - 4 * (0.09 / 123) ** 0.5 <= inside <= 0.99


def test_predictors_are_differentiable_in_relaxed_weights(space, table, split):
    fit, _ = split
    ms = planted(space, table)
    architectures, timed = [space[i] for i in fit], ms[fit].tolist()
    weights = torch.rand(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for predictor in additivity.predictors(space, table, [Timed(a, t, t) for a, t in zip(architectures, timed)]):
        assert torch.autograd.gradcheck(predictor, weights)


def test_too_few_or_impossible_milliseconds_are_refused(space, table):
    few = [space[i] for i in range(12)]
    with pytest.raises(InputError, match="at least 10 timed networks"):
        Ridge.fit(space, few[:9], [1.0] * 9)
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="positive and finite"):
            SumOfParts.fit(table, few, [1.0] * 11 + [bad])


# --- the report -----------------------------------------------------------------------------------------------


def twice(space, table, n, noise, seed=0):
    """`n` random networks of planted latencies, each measured twice with the noise given."""
    draw = torch.Generator().manual_seed(seed)
    exact = planted(space, table)
    off = lambda: 1 + noise * torch.randn((), generator=draw).item()
    chosen = additivity.choose(space, n)
    return [Timed(a, exact[space.index(a)].item() * off(), exact[space.index(a)].item() * off()) for a in chosen]


def test_the_report_is_of_networks_that_no_predictor_was_fitted_to(space, table):
    timed = twice(space, table, 180, 0.0)
    found = report(space, table, timed)
    assert (found.fitted, found.held_out, found.verdict) == (120, 60, "reached")
    assert found.best.name == "table and pairs" and found.best.within_5 == 1.0
    assert found.ceiling.spearman == pytest.approx(1.0) and found.ceiling.rmse == 0.0
    assert {s.name for s in found.baselines} == {"multiply-accumulates", "parameters", "activations"}
    planted_wrong = [*timed[:-60], *(Timed(t.architecture, 1 / t.measured_ms, 1 / t.again_ms) for t in timed[-60:])]
    assert report(space, table, planted_wrong).verdict == "short", "negative control: other latencies than fitted"


def test_a_noisy_machine_is_told_from_a_bad_table(space, table):
    """With 5 % of noise measuring twice misses the bar, so a predictor may; with 12 % nothing can be judged."""
    found = report(space, table, twice(space, table, 180, 0.05))
    assert found.ceiling.within_10 < 0.95 and found.passed
    found = report(space, table, twice(space, table, 180, 0.12))
    assert found.verdict == "noisy" and not found.passed


def test_scores_are_what_they_are_called():
    measured = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    s = score("x", measured * 1.07, measured)
    assert (s.spearman, s.top_decile, s.within_5, s.within_10) == (pytest.approx(1), 1.0, 0.0, 1.0)
    assert s.rmse == pytest.approx(0.07 * np.sqrt(38.5) / 5.5)
    s = score("macs", -measured, measured, ms=False)
    assert (s.spearman, s.kendall, s.top_decile, s.rmse) == (pytest.approx(-1), pytest.approx(-1), 0.0, None)


def test_a_text_and_a_json_say_the_same(space, table):
    found = report(space, table, twice(space, table, 100, 0.01), held_out=60)
    text, value = additivity.to_text(found), additivity.to_json(found)
    assert value["passed"] == found.passed and f"best: {value['best']}" in text
    assert value["scores"][0]["name"] == "measured again"
    with pytest.raises(InputError, match="at least 10 more"):
        report(space, table, twice(space, table, 65, 0.0), held_out=60)


def test_what_stands_beside_a_shipped_table_follows_from_its_networks():
    name = "five_layer-onnxruntime-b32"
    table, path = lk.LatencyTable.load(name), shipped_table(name)
    space = lk.spaces.five_layer()
    timed = load_networks(path.with_suffix(".additivity.json"), space)
    again = report(space, table, timed)
    recorded = {s.name: s for s in additivity.recorded(name)}
    assert list(recorded) == [s.name for s in (again.ceiling, *again.predictors, *again.baselines)]
    for one in (again.ceiling, *again.predictors):
        assert recorded[one.name].spearman == pytest.approx(one.spearman, abs=1e-3)
        assert recorded[one.name].within_10 == pytest.approx(one.within_10, abs=1e-3)
    with pytest.raises(InputError, match="no latency table is called"):
        additivity.recorded("nonsense")


def test_networks_are_chosen_once_each(space):
    assert len(set(additivity.choose(space, 100))) == 100 and additivity.choose(space, 100) == additivity.choose(
        space, 100
    )
    assert set(additivity.choose(space, 1_000)) == set(space)
    assert len(set(additivity.choose(lk.spaces.mobile("tiny"), 90))) == 90
