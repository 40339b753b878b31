"""The rows of a comparison: what they cost, what is missing, and their file."""

import itertools
import json

import numpy as np
import pytest

import labkit as lk
from labkit.benches import comparison
from labkit.benches.comparison import OURS, SCAN, SCRATCH, Row
from labkit.benches.tabular.table import TrainedNetwork
from labkit.system import storage

WEIGHTS = (0.0, 2.0)


def test_costs_and_regrets_are_those_of_the_truth(found, known):
    made = found
    costs = made.costs(SCAN, known)
    error, ms = known.error, known.ms()
    for seed, w in itertools.product((0, 1), (0, 1)):
        (row,) = (row for row in made.rows if (row.method, row.seed) == (SCAN, seed))
        i = known.space.index(known.space.architecture(row.ops[w]))
        assert costs[seed, w] == pytest.approx((error[i] + WEIGHTS[w] * ms[i]).item())
    least = [(error + w * ms).min().item() for w in WEIGHTS]
    assert comparison.regrets(made, SCAN, known) == pytest.approx(costs - np.array(least))
    assert (comparison.regrets(made, OURS, known) >= 0).all()


def test_a_study_whose_every_training_was_tested_still_loads_and_lacks_nothing():
    """As the shipped one of mobile-tiny: its baseline from scratch had tested what it did not choose, too."""
    found = comparison.load("mobile-tiny-comparison")
    assert not found.missing() and found.costs(SCRATCH).shape == (6, 4)


def trained(ops, seed, test_accuracy):
    return TrainedNetwork(
        ops=ops, seed=seed, valid_accuracy=0.5, test_accuracy=test_accuracy,
        epochs=1, parameters=1, macs=1, activations=1, seconds=1.0,
    )  # fmt: skip


def test_without_a_tabular_benchmark_costs_are_of_what_was_tested(space, table):
    first, second = (str(space[i]) for i in (3, 4))
    rows = tuple(Row(OURS, seed, (first, second), 1, 1, 1.0) for seed in (1, 0))
    tested = {(first, 0): 0.9, (second, 0): 0.8, (first, 1): 0.7, (second, 1): None}
    every = tuple(trained(*job, accuracy) for job, accuracy in tested.items())
    made = comparison.Comparison(space, table, WEIGHTS, {}, {}, rows, every)
    assert [(str(job.architecture), job.seed) for job in made.missing()] == [(second, 1)]
    with pytest.raises(lk.InputError, match=r"1 networks that 'sweep, selected' chose are not trained yet"):
        made.costs(OURS)
    whole = made.whole_seeds()
    assert [row.seed for row in whole.rows] == [0]
    ms = table.table_ms(space[4])
    assert whole.costs(OURS).tolist() == [[pytest.approx(1 - 0.9), pytest.approx(1 - 0.8 + 2.0 * ms)]]


def test_methods_and_estimators_are_in_the_order_of_the_rows(space, table):
    names = ("sweep", OURS, "random", "sweep, gumbel", "sweep, darts", "random")
    rows = tuple(Row(name, seed, (), 1, 1, 1.0) for seed, name in enumerate(names))
    made = comparison.Comparison(space, table, (), {"search": {"estimator": "unas"}}, {}, rows)
    assert made.methods == names[:-1]
    assert made.estimators == {"unas": "sweep", "gumbel": "sweep, gumbel", "darts": "sweep, darts"}


@pytest.mark.parametrize("name", ["five_layer-comparison", "mobile-tiny-comparison"])
def test_the_shipped_files_are_what_is_read_from_them(name, tmp_path):
    path = comparison.save(comparison.load(name), tmp_path / "c.json")
    assert path.read_text() == storage.result_file(name).read_text()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v["rows"][3].update(seed="0"), r"c.json is a damaged comparison: .*`int`.* at `\$.rows\[3\].seed`"),
        (lambda v: v["rows"][0].update(ops="skip"), r"damaged comparison: .* at `\$.rows\[0\].ops`"),
        (lambda v: v["trained"][2].pop("valid_accuracy"), r"damaged comparison: .* at `\$.trained\[2\]`"),
        (lambda v: v.pop("asked"), r"damaged comparison: .*required field `asked`"),
        (lambda v: v["latency_weights"].append("dear"), r"damaged comparison: .* at `\$.latency_weights\[4\]`"),
        (lambda v: v["space"].update(digest="0"), r"c.json: space mobile-tiny has changed \(digest 0 then"),
        (lambda v: v["table"].pop("card"), r"c.json: a latency table is damaged"),
        (lambda v: v.update(schema=9), r"comparison of schema 9; this labkit reads schema 1"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(tmp_path, change, says):
    value = json.loads(storage.result_file("mobile-tiny-comparison").read_text())
    change(value)
    with pytest.raises(lk.InputError, match=says) as raised:
        comparison.load(storage.write_json(tmp_path / "c.json", value))
    assert "\n" not in str(raised.value)
