"""A report says what its run says, and its claims are found true where they are and drifted where they are not."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

import labkit as lk
from labkit.latency.cards import Card, Measurement, Timing
from labkit.oneshot.baselines import random_search
from labkit.runs import claims as claiming
from labkit.runs import reporting
from labkit.runs import run as runs
from labkit.runs.baseline import BaselinesRequest, baselines
from labkit.runs.claims import statement
from labkit.runs.reporting import Claim, read, verify
from labkit.system import storage

CONFIG = lk.SearchConfig(
    mixture_steps=20, weight_steps=5, joint_steps=10, batch_size=16, evaluation_images=100, calibration_images=64,
    latency_weight=0.5, seed=3,
)  # fmt: skip
TRAINING = lk.TrainConfig(epochs=1, batch_size=32, seed=3)
SHORT = lk.TimingConditions(seconds=0.05)


@pytest.fixture(scope="module")
def run(space, table, tmp_path_factory):
    """A run as `labkit search` and `labkit export` leave it."""
    images, folder = lk.data.digits(seed=3), tmp_path_factory.mktemp("run")
    result = lk.search(lk.Supernet(space, seed=3), images, table, CONFIG)
    runs.save(result, folder, images, table)
    loaded = runs.load(folder)
    network, _ = runs.train_chosen(loaded, images, TRAINING)
    rows = [row.to_json() for row in lk.deploy.benchmark(network, images.test, SHORT, runtimes=("onnxruntime",))]
    about = {"kind": "export", "schema": 1, "architecture": list(result.architecture.ops), "data": images.digest}
    storage.write_json(folder / "export.json", {**about, "runtimes": rows})
    baselines(loaded, BaselinesRequest(networks=1, controls=(), seconds=0.05), data=images)
    return loaded


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    return reporting.report(run.folder, tmp_path_factory.mktemp("page") / "report.html")


def test_the_page_stands_alone_and_says_what_the_run_says(run, page):
    text = page.read_text()
    assert text.startswith("<!doctype html>") and text.count("data:image/png;base64,") >= 3
    assert "http" not in text.replace("http-equiv", "") and 'src="data:' in text, "nothing is fetched"
    for said in (
        str(run.result.architecture),
        "seed</th><td>3",
        str(run.table.card),
        "onnxruntime",
        run.date,
        "parity",
    ):
        assert said in text
    assert all("alt=" in figure for figure in text.split("<img ")[1:])


def test_every_claim_of_a_fresh_report_is_reproduced(page):
    found = list(verify(read(page)))
    by_name = {verdict.claim.name: verdict for verdict in found}
    assert set(by_name) == set(claiming.STATEMENTS)
    exact = ("images", "space", "complexity", "table", "search", "accuracy", "baseline")
    assert {name: by_name[name].outcome for name in exact} == dict.fromkeys(exact, "reproduced"), by_name
    timed = {by_name[name].outcome for name in ("latency", "in turn")}
    assert timed <= {"reproduced", "drifted"}, "the machine may not be quiet"
    assert "the same architecture" in str(by_name["search"])


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("images", {"digest": "0123456789ab"}, "here "),
        ("space", {"space": {**lk.spaces.record(lk.spaces.five_layer()), "digest": "0123456789ab"}}, "here "),
        ("complexity", {"macs": 1}, "macs"),
        ("table", {"ms": 1.0}, "add up to"),
        ("search", {"error": 0.123}, "the same architecture"),
        ("search", {"ops": ["maxpool3x3"] * 5}, "it chooses"),
        ("accuracy", {"accuracy": 0.999}, "here; three standard errors"),
        ("latency", {"ms": 1e3, "spread_ms": 0.0}, "here"),
        ("baseline", {"ours": [[0, 0.001], [1, 0.001], [2, 0.002]]}, "here: "),
    ],
)
def test_a_claim_that_is_not_true_has_drifted(page, name, changes, says):
    claim = next(c for c in read(page) if c.name == name)
    (verdict,) = verify([altered(claim, changes)])
    assert verdict.outcome == "drifted" and says in verdict.found


def test_a_sentence_that_its_value_does_not_say_has_drifted(page):
    for claim in read(page):
        (verdict,) = verify([replace(claim, says="1 parameters, 0.001 ms")])
        assert verdict.outcome == "drifted" and verdict.found == f"its value says: {claim.says}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("% error on validation images", "% error, honestly, on validation images"),
        ("data:image/png;base64,", "data:x,"),
    ],
)
def test_a_page_that_was_edited_by_hand_has_drifted(page, tmp_path, old, new):
    text, edited = page.read_text(), tmp_path / "edited.html"
    edited.write_text(text.replace(old, new, 1))
    assert old in text
    outcomes = {v.claim.name: v.outcome for v in verify(c for c in read(edited) if c.name == "page")}
    assert outcomes == {"page": "drifted"}
    assert [v.outcome for v in verify(c for c in read(page) if c.name == "page")] == ["reproduced"]


def test_a_report_that_leaves_a_claim_out_is_refused(page, tmp_path):
    text = page.read_text()
    value = json.loads(reporting._Page(text).claims)
    for name in (name for name, kind in claiming.STATEMENTS.items() if kind.required):
        kept = value | {"claims": [claim for claim in value["claims"] if claim["name"] != name]}
        part = tmp_path / "part.html"
        part.write_text(f'<script id="claims">{json.dumps(kept)}</script>')
        with pytest.raises(lk.InputError, match=f"makes no claim of {name}"):
            read(part)


def test_a_table_that_ships_with_other_entries_has_drifted(page, space):
    shipped = lk.LatencyTable.load("five_layer-torch-b1")
    claim = next(c for c in read(page) if c.name == "table")
    ms = shipped.table_ms(space.architecture(claim.value["ops"]))
    honest = altered(claim, {"table": shipped.to_json(), "ms": ms})
    assert [v.outcome for v in verify([honest])] == ["reproduced"]
    sixteenth = json.loads(json.dumps(shipped.to_json()), parse_float=lambda text: float(text) / 16)
    forged = altered(claim, {"table": sixteenth, "ms": ms / 16})
    (verdict,) = verify([forged])
    assert verdict.outcome == "drifted" and "other entries" in verdict.found


def test_a_report_cannot_widen_what_it_is_allowed(page, monkeypatch):
    claims = {claim.name: claim for claim in read(page)}
    (verdict,) = verify([altered(claims["accuracy"], {"accuracy": 0.999, "tested": 1})])
    assert verdict.outcome == "drifted"
    timed = claims["latency"].value
    card, slow = Card.from_json(timed["card"]), 10 * timed["ms"]
    found = Measurement(Timing(slow, slow, 0.0, 15), card)
    monkeypatch.setattr(claiming, "measure", lambda *_, **__: (found,))
    monkeypatch.setattr(claiming, "card_of", lambda *_, **__: card)
    (verdict,) = verify([altered(claims["latency"], {"spread_ms": 1e9})])
    assert verdict.outcome == "drifted"


def test_milliseconds_in_turn_are_compared_relative_to_the_choice(page, monkeypatch):
    claim = next(c for c in read(page) if c.name == "in turn")
    card, own = Card.from_json(claim.value["card"]), "-".join(claim.value["ops"])
    assert own in dict(claim.value["times"]) and "timed in turn in torch" in claim.says
    slower = [Measurement(Timing(2 * ms, 2 * ms, 0.0, 15), card) for _, ms in claim.value["times"]]
    monkeypatch.setattr(claiming, "card_of", lambda *_, **__: card)
    monkeypatch.setattr(claiming, "measure", lambda *_, **__: slower)
    (verdict,) = verify([claim])
    assert verdict.outcome == "reproduced", "all twice as slow: the machine is"
    others = [[name, ms * (1 if name == own else 1.5)] for name, ms in claim.value["times"]]
    (verdict,) = verify([altered(claim, {"times": others})])
    assert verdict.outcome == "drifted" and "% off, relative to the choice" in verdict.found


def test_a_stranger_cannot_have_thousands_of_networks_trained_or_timed(page):
    claims = {claim.name: claim for claim in read(page)}
    own = ["-".join(claims["in turn"].value["ops"]), 0.1]
    for name, value in (
        ("in turn", {"times": [own] * 1_000}),
        ("baseline", {"theirs": [["resnet-18x256", i % 3, 0.1] for i in range(999)]}),
    ):
        many = Claim(name, statement(name, claims[name].value | value).sentence(), claims[name].value | value)
        (verdict,) = verify([many], full=True)
        assert verdict.outcome == "not checked" and "up to 128" in verdict.found
    huge = altered(claims["baseline"], {"theirs": [["resnet-900000x16", seed, 0.1] for seed in range(3)]})
    (verdict,) = verify([huge], full=True)
    assert verdict.outcome == "not checked" and "a resnet has a depth of 1, 2" in verdict.found


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("in turn", {"times": [["OWN", 0.0]]}, "milliseconds are finite numbers above 0"),
        ("in turn", {"times": [["conv3x3", 0.1]]}, "the choice is not among the networks"),
        ("baseline", {"tested": 0}, "at least one test image"),
        ("baseline", {"ours": []}, "at least two finite differences"),
    ],
)
def test_a_claim_of_a_baseline_that_cannot_be_is_not_checked(page, name, changes, says):
    claim = next(c for c in read(page) if c.name == name)
    text = json.dumps(claim.value | changes).replace("OWN", "-".join(claim.value["ops"]))
    (verdict,) = verify([Claim(name, claim.says, json.loads(text))])
    assert verdict.outcome == "not checked" and says in verdict.found


def altered(claim, changes):
    """The claim with another value, and the sentence that goes with it."""
    value = claim.value | changes
    return reporting.claim(claim.name, value)


def test_what_cannot_be_checked_is_said(page, monkeypatch):
    claims = {claim.name: claim for claim in read(page)}

    def outcome(claim):
        (verdict,) = verify([claim])
        return verdict.outcome, verdict.found

    other = claims["latency"].value["card"] | {"device": "another machine", "dtype": "float16"}
    elsewhere = altered(claims["latency"], {"card": other})
    assert outcome(elsewhere) == ("not checked", "this is another measurement: device differ")
    strange = altered(claims["search"], {"first_weights": "0123456789ab"})
    assert outcome(strange) == ("not checked", "it began from weights that are not those of its seed")
    monkeypatch.setattr(claiming, "SEARCH_PASSES", 10)
    monkeypatch.setattr(claiming, "TRAIN_IMAGES", 10)
    assert "--full does them again" in outcome(claims["search"])[1]
    assert "--full trains it again" in outcome(claims["accuracy"])[1]
    (verdict,) = verify([claims["accuracy"]], full=True)
    assert verdict.outcome == "reproduced"
    assert outcome(Claim("magic", "it is magic", {}))[0] == "not checked"
    gone = altered(claims["images"], {"made_by": {"name": "gone", "arguments": {"seed": 0}, "small": False}})
    assert outcome(gone)[0] == "not checked"


@pytest.mark.parametrize("name", claiming.STATEMENTS)
@pytest.mark.parametrize("value", [{}, {"space": 3, "classes": "x", "made_by": {}, "config": {"speed": 1}}, []])
def test_a_damaged_claim_is_not_checked(name, value):
    (verdict,) = verify([Claim(name, "strange", value)])
    assert verdict.outcome == "not checked"


def test_random_search_is_repeated_as_random_search(space, table, tmp_path):
    images, config = lk.data.digits(), replace(CONFIG, seed=0)
    result = random_search(lk.Supernet(space, seed=0), images, table, config)
    runs.save(result, tmp_path, images, table)
    claim = next(c for c in reporting.claims(runs.load(tmp_path)) if c.name == "search")
    (verdict,) = verify([claim])
    assert verdict.outcome == "reproduced" and "the random search (seed 0)" in claim.says


def swept(supernet, images, table, config, folder):
    return lk.sweep(supernet, images, table, (0.1, 1.0), config)[1]


def reused(supernet, images, table, config, folder):
    return lk.reuse_search([lk.search(supernet, images, table, config)], images, table)[0]


def measured(supernet, images, table, config, folder):
    return lk.search(supernet, images, table, config, measured_ms=table)


def branched(supernet, images, table, config, folder):
    checkpoints = lk.Checkpoints(folder, every=config.steps - 2)
    lk.search(supernet, images, table, config, checkpoints=checkpoints)
    return lk.search(supernet, images, table, replace(config, latency_weight=5.0), start=checkpoints.newest())


def with_a_budget(supernet, images, table, config, folder):
    return random_search(supernet, images, table, config, budget=10_000)


@pytest.mark.parametrize(
    ("searched", "says"),
    [
        (swept, "search and random search can be repeated from a report; this is of sweep"),
        (reused, "this is of random, shared weights"),
        (measured, "it also followed a black-box latency"),
        (branched, "it also followed a checkpoint of another search"),
        (with_a_budget, "it also followed a budget of its own"),
    ],
)
def test_a_search_that_a_plain_one_cannot_repeat_is_not_checked(space, table, tmp_path, searched, says):
    images, config = lk.data.digits(), replace(CONFIG, mixture_steps=3, weight_steps=2, joint_steps=4, seed=0)
    result = searched(lk.Supernet(space), images, table, config, tmp_path / "checkpoints")
    runs.save(result, tmp_path / "run", images, table)
    loaded = runs.load(tmp_path / "run")
    assert loaded.result.extra_inputs == result.extra_inputs
    (verdict,) = verify([claim for claim in reporting.claims(loaded) if claim.name == "search"])
    assert verdict.outcome == "not checked" and says in verdict.found


def test_a_search_on_a_gpu_is_not_repeated_on_a_cpu(run, page):
    assert run.device == "cpu"
    claim = next(c for c in read(page) if c.name == "search")
    (verdict,) = verify([altered(claim, {"device": "cuda"})])
    assert verdict.outcome == "not checked" and "trained on cuda" in verdict.found


def test_a_latency_is_checked_on_the_device_that_its_card_names(page, monkeypatch):
    claim, asked = next(c for c in read(page) if c.name == "latency"), []
    card = Card.from_json(claim.value["card"] | {"device": "a GPU", "statistic": "median", "runtime": "torch"})

    def card_here(conditions, image):
        asked.append((conditions.device, torch.backends.cudnn.allow_tf32))
        return card

    def measured_here(networks, conditions, *, image):
        asked.append((conditions.device, torch.backends.cudnn.allow_tf32))
        return [Measurement(Timing(1.0, 1.0, 0.0, 15), card)]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(claiming, "device_name", lambda device: "a GPU")
    monkeypatch.setattr(claiming, "card_of", card_here)
    monkeypatch.setattr(claiming, "measure", measured_here)
    (verdict,) = verify([altered(claim, {"card": card.to_json(), "ms": 1.0})])
    assert verdict.outcome == "reproduced" and asked == [("cuda", False), ("cuda", False)], "IEEE float32, as exports"


def test_what_was_trained_before_another_search_is_not_claimed(run):
    other = next(a for a in run.space if a != run.result.architecture)
    again = replace(run, result=replace(run.result, point=replace(run.result.point, architecture=other)))
    assert {"accuracy", "latency"} & {claim.name for claim in reporting.claims(again)} == set()


def test_what_was_trained_on_other_images_is_not_claimed(run):
    assert "accuracy" in {claim.name for claim in reporting.claims(run)}
    other = replace(run, data=replace(run.data, digest="0123456789ab"))
    assert "accuracy" not in {claim.name for claim in reporting.claims(other)}


def test_only_what_was_timed_in_float32_is_claimed(run, tmp_path):
    """Not a runtime that was missing, nor one in eight bits, whose model a reader cannot make again."""
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    export = json.loads((folder / "export.json").read_text())
    timed = export["runtimes"][0]
    missing = {**timed, "name": "tensorrt", "card": None, "available": False, "reason": "tensorrt needs a GPU"}
    export["runtimes"] = [timed, missing, {**timed, "precision": "int8"}]
    (folder / "export.json").write_text(json.dumps(export))
    found = [claim for claim in reporting.claims(runs.load(folder)) if claim.name == "latency"]
    assert len(found) == 1 and found[0].value["card"] == timed["card"]


def test_names_that_look_like_markup_stay_text(run, tmp_path):
    odd = replace(run, data=replace(run.data, name="</script><b>bold"))
    path = reporting.report(odd, tmp_path / "odd.html")
    assert "<b>bold" not in path.read_text()
    assert "the images are </script><b>bold" in read(path)[0].says


def test_what_is_no_report_is_refused(page, tmp_path):
    with pytest.raises(lk.InputError, match="no report can be read"):
        read(tmp_path / "none.html")
    strange = "is not a report that labkit wrote"
    for text, says in (
        ("hello", strange),
        ("<p>hello</p>", strange),
        (page.read_text()[:-600], strange),
        (page.read_text().replace('"schema": 3', '"schema": 9', 1), "reads labkit report 3"),
    ):
        (tmp_path / "odd.html").write_text(text)
        with pytest.raises(lk.InputError, match=says):
            read(tmp_path / "odd.html")
    assert json.dumps([c.value for c in read(page)])


def test_a_second_stage_is_said_and_done_again(space, table, tmp_path):
    images = lk.data.digits(seed=0)
    config = replace(CONFIG, seed=0, mixture_steps=5, joint_steps=5)
    found = lk.search(lk.Supernet(space), images, table, config)
    (chosen,) = lk.select([found], images, table, lk.SelectionConfig(scan=3, entrants=2, images=128, final=None))
    runs.save(chosen, tmp_path / "run", images, table)
    assert runs.load(tmp_path / "run").result.selection == chosen.selection
    page = reporting.report(tmp_path / "run", tmp_path / "report.html")
    assert "after a short training of its own" in page.read_text()
    (claim,) = (c for c in read(page) if c.name == "search")
    (verdict,) = verify([claim])
    assert verdict.outcome == "reproduced"
    (verdict,) = verify([altered(claim, {"selection": None})])
    assert verdict.outcome == "drifted"


@pytest.mark.parametrize(
    ("ms", "outcome"), [(1.0, "reproduced"), (1.09, "reproduced"), (0.85, "drifted"), (1.2, "drifted")]
)
def test_a_latency_within_a_tenth_of_the_claim_is_reproduced(space, monkeypatch, ms, outcome):
    card = lk.latency.card_of(lk.TimingConditions(), space.image)
    timed = lk.Measurement(lk.Timing(best_ms=ms, median_ms=2 * ms, spread_ms=0.01, n=10), card)
    monkeypatch.setattr(claiming, "measure", lambda networks, conditions, **how: [timed])
    about = {"space": lk.spaces.record(space), "ops": list(space[0].ops)}
    claim = reporting.claim("latency", {**about, "card": card.to_json(), "ms": 1.0, "spread_ms": 0.01})
    (verdict,) = verify([claim])
    assert (verdict.outcome, verdict.found) == (outcome, f"{timed.timing.text('best')} here")
