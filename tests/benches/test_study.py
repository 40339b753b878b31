"""A study on one set of shared weights: what is compared, and its file."""

import json

import pytest

import labkit as lk
from labkit.benches import study as studies
from labkit.oneshot.config import SearchConfig
from labkit.pareto import Frontier
from labkit.system import storage

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=4, batch_size=16, evaluation_images=50, calibration_images=32
)


@pytest.fixture(scope="module")
def made(space, table):
    return studies.study(lk.Supernet(space), lk.data.by_name("digits"), table, (0.0, 5.0), TINY, command="c")


def test_picks_are_evaluated_on_the_weights_of_the_random_search(made, table, space):
    """Each random pick is the cheapest of all points, and a pick that is among the points has their error."""
    assert [w for w, _ in made.picks] == [w for w, _ in made.random] == [0.0, 5.0]
    errors = {p.architecture: p.error for p in made.points}
    for weight, point in made.random:
        costs = [p.error + weight * p.latency_ms for p in made.points]
        assert point.error + weight * point.latency_ms == min(costs)
    for _, point in made.picks:
        assert errors.get(point.architecture, point.error) == point.error
        assert point.latency_ms == table.table_ms(point.architecture)
    assert made.frontier == Frontier.of(made.points)
    assert made.made["command"] == "c" and made.made["config"]["joint_steps"] == 4
    assert made.made["passes"]["random search"] <= made.made["passes"]["sweep"]


def test_study_round_trip(made, tmp_path):
    loaded = studies.load_study(studies.save_study(made, tmp_path / "s.json"))
    assert loaded.points == made.points and loaded.picks == made.picks and loaded.random == made.random
    assert loaded.space == made.space and loaded.data == made.data
    assert loaded.table.to_json() == lk.LatencyTable.from_json(made.table.to_json()).to_json()
    assert loaded.random[1][1].latency_ms <= loaded.random[0][1].latency_ms


def test_the_shipped_study_holds_the_whole_space(space):
    study = studies.load_study("five_layer-glyphs")
    assert {p.architecture for p in study.points} == set(space)
    assert study.made["command"].startswith("python -m labkit study") and study.table.card.origin == "recorded"
    errors = {p.architecture: p.error for p in study.points}
    assert all(errors[p.architecture] == p.error for _, p in study.picks), "evaluated on the same weights"
    latencies = [p.latency_ms for _, p in study.picks]
    assert latencies[0] > latencies[-1], "where a millisecond costs more, a faster network is chosen"
    raw = json.loads((storage.DATA / "results" / "five_layer-glyphs.json").read_text())
    assert [[str(p.architecture), p.error] for p in study.points] == raw["points"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda v: v["picks"][1].update(error="much"),
            r"s.json is a damaged study: .*`float`.* at `\$.picks\[1\].error`",
        ),
        (lambda v: v["points"][4].append(1.0), r"damaged study: .* at `\$.points\[4\]`"),
        (lambda v: v.pop("random"), r"damaged study: .*required field `random`"),
        (lambda v: v["random"][0].update(ops="conv9x9"), r"s.json: .*conv9x9"),
        (lambda v: v["space"].update(digest="0"), r"s.json: space five_layer has changed \(digest 0 then"),
        (lambda v: v["table"].pop("floor"), r"s.json: a latency table is damaged: .*floor"),
        (lambda v: v.update(schema=7), r"study of schema 7; this labkit reads schema 1"),
        (lambda v: v.update(kind="poem"), r"s.json is not a study but a poem"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(made, tmp_path, change, says):
    path = studies.save_study(made, tmp_path / "s.json")
    value = json.loads(path.read_text())
    change(value)
    with pytest.raises(lk.InputError, match=says) as raised:
        studies.load_study(storage.write_json(path, value))
    assert "\n" not in str(raised.value)
