"""The bench of engines: what is handed to the builder, what is refused, and its file; with a builder made up."""

import json
from dataclasses import replace

import pytest

import labkit as lk
from labkit.benches import engines, record
from labkit.benches.engines import Build, EngineBench
from labkit.runtimes.tensorrt_engines import Engine
from labkit.system import storage


@pytest.fixture
def network(space):
    return lk.derive(space, space[0])


@pytest.fixture
def handed(monkeypatch):
    """Models that were handed to a builder, whose plans are a quarter of them; it refuses the third."""
    models = []

    def build(model, settings, *, flavour):
        models.append(model)
        if len(models) == 3:
            raise lk.InputError("TensorRT refuses node 1: export it in s8s8")
        return Engine(model[: len(model) // 4], flavour, "9.9", settings, 1.2345, 17)

    monkeypatch.setattr(engines, "build", build)
    return models


ONE = Build("five_layer", "a-b", "fp32", "tensorrt-rtx", "9.9", 2048, 1024, 17, 1.5)
REFUSED = Build("five_layer", "a-b", "u8s8", "tensorrt-rtx", onnx_bytes=2048, refused="export it in s8s8")


def test_the_shipped_builds_are_those_of_the_file():
    rows, made = engines.load()
    raw = json.loads((storage.DATA / "results" / "engines.json").read_text())
    assert engines.to_json(rows) == raw["rows"] and made == raw["made"]
    assert engines.as_expected(rows) and {row.model for row in rows} == set(engines.MODELS)


@pytest.mark.parametrize(
    ("rows", "holds"),
    [
        ([ONE, REFUSED], True),
        ([ONE], True),
        ([replace(ONE, refused="no memory"), REFUSED], False),
        ([ONE, replace(REFUSED, refused=None)], False),
        ([ONE, replace(REFUSED, refused="no memory")], False),
    ],
)
def test_all_but_the_model_of_another_runtime_is_to_be_built(rows, holds):
    """The refusal counts only where it names the remedy."""
    assert engines.as_expected(rows) is holds


def test_a_line_says_sizes_in_kibibytes_or_the_reason():
    assert (
        str(ONE)
        == "five_layer   fp32       1 KiB from     2 KiB of ONNX,  17 layers, built in 1.5 s (tensorrt-rtx 9.9)"
    )
    assert str(REFUSED) == "five_layer   u8s8  refused: export it in s8s8"


def test_each_model_is_built_once_from_bytes_of_its_own(network, data, handed):
    rows = engines.builds(network, data.train, models=("fp32", "fp16", "u8s8"), flavour="made-up")
    assert len(handed) == 3 and len(set(handed)) == 3
    assert [row.onnx_bytes for row in rows] == [len(model) for model in handed]
    assert [row.plan_bytes for row in rows] == [len(handed[0]) // 4, len(handed[1]) // 4, None]
    assert len(handed[1]) < 0.7 * len(handed[0]), "half precision"
    about = {(row.space, row.architecture, row.flavour) for row in rows}
    assert about == {("five_layer", str(network.architecture), "made-up")}
    assert [(row.version, row.layers, row.seconds) for row in rows[:2]] == [("9.9", 17, 1.23)] * 2
    assert rows[2].refused == "TensorRT refuses node 1: export it in s8s8" and rows[2].seconds is None
    assert engines.as_expected(rows)


def test_an_unknown_model_is_refused(network, data):
    with pytest.raises(lk.InputError, match="models are fp32, fp16, u8s8, s8s8, fp8; got 'fp4'"):
        engines.builds(network, data.train, models=("fp32", "fp4"))


def test_a_saved_bench_comes_back_and_a_damaged_one_is_named(tmp_path):
    class Made(EngineBench):
        def run(self, done, on_row):
            return [ONE, REFUSED]

    bench = object.__new__(Made)
    outcome = record.record(bench, tmp_path / "e.json", made={"command": "c"})
    assert outcome.passed and outcome.text == f"{ONE}\n{REFUSED}"
    assert engines.load(tmp_path / "e.json") == ((ONE, REFUSED), {"command": "c"})
    value = json.loads((tmp_path / "e.json").read_text())
    value["rows"][1]["onnx_bytes"] = "2 KiB"
    storage.write_json(tmp_path / "e.json", value)
    with pytest.raises(lk.InputError, match=r"e.json is a damaged engine bench: .* at `\$.rows\[1\].onnx_bytes`"):
        engines.load(tmp_path / "e.json")
