"""`search`, `study` and `compare`: their output and what they refuse."""

import json

import numpy as np
import pytest
from PIL import Image

import labkit as lk
from labkit.data import LeftOut


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["search", "--space", "nope", "--out", "OUT"], "spaces are five_layer, mobile-tiny, mobile-full, cells-tiny"),
        (["search", "--data", "nope", "--out", "OUT"], "image sets are glyphs"),
        (["search", "--data", "folder:/no/such", "--out", "OUT"], "no images at /no/such"),
        (["search", "--estimator", "nope", "--out", "OUT"], "estimators are unas"),
        (["search", "--latency-weight", "-0.1", "--out", "OUT"], "a latency weight is at least 0"),
        (["search", "--latency-weight", "much", "--out", "OUT"], "invalid float value: 'much'"),
        (["search", "--deadline-ms", "-1", "--out", "OUT"], "a deadline is a positive number"),
        (["search", "--latency-weight", "nan", "--out", "OUT"], "a latency weight is at least 0"),
        (["search", "--table", "OUT/none.json", "--out", "OUT"], "no latency table can be read"),
        (["search", "--seed", "9223372036854775807", "--data", "nope", "--out", "OUT"], "image sets are glyphs"),
        (
            ["search", "--space", "mobile-full", "--data", "digits", "--out", "OUT"],
            "the images of digits are (3, 32, 32)",
        ),
        (["search", "--image", "3,32,48", "--out", "OUT"], "are for --data folder:PATH"),
        (["search", "--data", "folder:x", "--image", "3,32", "--out", "OUT"], "such as 3,96,128; got '3,32'"),
        (["search", "--data", "folder:x", "--image", "3,1,-8", "--out", "OUT"], "such as 3,96,128; got '3,1,-8'"),
        (["search", "--data", "folder:x", "--resize", "zoom", "--out", "OUT"], "crop, stretch, pad; got 'zoom'"),
        (["search", "--predictor", "--out", "OUT"], "--predictor corrects a table that `latency build` wrote"),
        (
            ["search", "--fast", "--table", "five_layer-torch-b1", "--predictor", "FILE", "--out", "OUT"],
            "damaged or trunc",
        ),
        (["search", "--table", "CUT", "--out", "OUT"], "damaged or truncated"),
        (["search", "--table", "mobile-tiny-torch-b1", "--fast", "--out", "OUT"], "measure a table for this space"),
        (["search", "--fast", "--out", "FILE/below"], "cannot write to the folder"),
        (["search"], "the following arguments are required: --out"),
        (["search", "--set", "gap", "--out", "OUT"], "--set takes NAME=VALUE of estimator, control_scale"),
        (["search", "--set", "speed=3", "--out", "OUT"], "got 'speed=3'"),
        (["search", "--set", "seed=3", "--seed", "4", "--out", "OUT"], "seed has an option of its own: give --seed"),
        (["search", "--set", "latency_weight=3", "--out", "OUT"], "give --latency-weight in place of --set"),
        (["study", "--set", "seed=3", "--out", "OUT/s.json"], "seed has an option of its own"),
        (["search", "--set", "logit_rl=3", "--out", "OUT"], "did you mean logit_lr?"),
        (["search", "--out", ""], "out is empty: name a file or a folder"),
        (["search", "--space", "mobil-tiny", "--out", "OUT"], "got 'mobil-tiny'; did you mean mobile-tiny?"),
        (["search", "--data", "glyps", "--out", "OUT"], "did you mean glyphs?"),
        (["search", "--estimator", "una", "--out", "OUT"], "did you mean unas?"),
        (["search", "--table", "five_layer-torch-1", "--out", "OUT"], "did you mean five_layer-torch-b1?"),
        (["search", "--set", "gap=mean", "--out", "OUT"], "a gap is batch or paired"),
        (["search", "--set", "joint_steps=many", "--out", "OUT"], "joint_steps is of type int; got 'many'"),
        (["search", "--fast", "--set", "weight_lr=1e30", "--out", "OUT"], "repeat it with a weight_lr below 1e+30"),
        (["search", "--published", "mnist", "--out", "OUT"], "invalid choice: 'mnist'"),
        (["search", "--published", "cifar", "--fast", "--out", "OUT"], "not allowed with argument"),
        (["search", "--device", "tpu", "--out", "OUT"], "a device is cpu or cuda; got 'tpu'"),
        (["study", "--latency-weights", "0,x", "--out", "OUT/s.json"], "numbers with commas between"),
        (["study", "--latency-weights", "0,-1", "--out", "OUT/s.json"], "a latency weight is at least 0"),
        (["study", "--task-cost", "money", "--out", "OUT/s.json"], "a task costs cross-entropy or error; got 'money'"),
        (["compare", "--baselines", "magic", "--out", "OUT/s.json"], "baselines are random-selected"),
        (["study", "--latency-weights", "0", "--out", "CUTRUN"], "is a folder: name a file in it"),
        (["study", "--latency-weights", "0", "--out", "CUTRUN/manifest.json"], "not a study: name another file"),
        (["study", "--latency-weights", "0", "--out", "OUT/s.json", "--picture", "CUTRUN"], "is a folder"),
        (["search", "--seed", "99999999999999999999999", "--out", "OUT"], "a whole number from 0 to"),
        (["search", "--set", "weight_lr=nan", "--out", "OUT"], "weight_lr is a finite number from 0 up"),
        (["search", "--set", "nats_per_error=0", "--out", "OUT"], "nats_per_error and clip are above 0"),
        (["search", "--set", "evaluation_images=0", "--out", "OUT"], "evaluated on at least one image"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(refused, arguments, says):
    assert says in refused(*arguments)


@pytest.mark.parametrize(
    ("function", "command", "says"),
    [
        ("searching.search", "search --out OUT", "the same command resumes from what is finished in OUT"),
        ("searching.study", "study --out OUT", "the same command starts over"),
        ("searching.compare", "compare --seeds 2 --out OUT", "the same command resumes from what is finished in OUT"),
    ],
)
def test_an_interrupt_says_what_the_same_command_does(interrupted, function, command, says):
    assert interrupted(function, command) == says


def test_a_second_stage_that_was_stopped_goes_on(run, monkeypatch, tmp_path):
    steps = {"mixture_steps": 2, "weight_steps": 2, "joint_steps": 2, "batch_size": 16, "evaluation_images": 50}
    typed = ["search", "--fast", "--select", "--out", str(tmp_path), *(f"--set={k}={v}" for k, v in steps.items())]
    trained = []

    def train(network, *_, **__):
        trained.append(network.architecture)
        if len(trained) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr("labkit.oneshot.selection.train", train)
    code, _, said = run(*typed)
    assert code == 130 and said == f"labkit: stopped; the same command resumes from what is finished in {tmp_path}\n"
    code, *_ = run(*typed)
    assert code == 0 and len(trained) == 4 + 2 + 1, "four, then two, and only the one that was cut short anew"
    assert not (tmp_path / "checkpoints").exists()


def test_a_limit_comes_without_a_hidden_price(run, tmp_path):
    steps = {"mixture_steps": 2, "weight_steps": 2, "joint_steps": 20, "batch_size": 16, "evaluation_images": 50}
    typed = ["search", "--fast", *(f"--set={k}={v}" for k, v in steps.items())]
    asked = {"limit": ["--deadline-ms", "0.4"], "target": ["--target-ms", "0.4"], "neither": []}
    asked["dear"] = ["--deadline-ms", "0.4", "--latency-weight", "0.3"]
    weights = {}
    for name, more in asked.items():
        code, *_ = run(*typed, *more, "--out", str(tmp_path / name))
        assert code == 0
        loaded = lk.runs.load(tmp_path / name)
        weights[name] = loaded.result.config.latency_weight
        if name in ("limit", "target"):
            assert 0.9 * 0.4 <= loaded.result.point.latency_ms <= 0.4
    low, high = loaded.table.range_ms()
    assert weights == {"limit": 0.0, "target": 0.0, "dear": 0.3, "neither": pytest.approx(0.03 / (high - low))}


@pytest.mark.filterwarnings("ignore::labkit.networks.training.SmallSet")
def test_a_folder_of_any_pictures_goes_through_at_a_size_that_is_not_square(run, tmp_path):
    """Search, export and report at 40 x 48 pixels, from palettes, transparency and a broken file."""
    draw, root = np.random.default_rng(0), tmp_path / "pictures"
    for c, label in enumerate(("red", "green", "blue")):
        (root / label).mkdir(parents=True)
        for i in range(24):
            pixels = draw.integers(0, 120, (50 + i, 60, 3))
            pixels[..., c] += 100
            picture = Image.fromarray(pixels.astype(np.uint8))
            picture = (picture.quantize(30), picture.convert("RGBA"), picture)[i % 3]
            picture.save(root / label / f"{i:02}.png")
    (root / "red" / "broken.png").write_bytes(b"no picture")
    out, few = str(tmp_path / "RUN"), "mixture_steps=2 weight_steps=2 joint_steps=4 batch_size=4 evaluation_images=6"
    settings = [part for each in few.split() for part in ("--set", each)]
    asked = ["--data", f"folder:{root}", "--image", "3,40,48", "--augment", "flip", "--table", "measure"]
    code, _, said = run("search", *asked, *settings, "--out", out)
    assert code == 2 and "red/broken.png cannot be read as a picture" in said
    with pytest.warns(LeftOut, match="1 pictures that cannot be read"):
        code, _, _ = run("search", *asked, "--skip-bad", *settings, "--out", out)
        assert code == 0
        code, text, _ = run("export", out, "--runtimes", "onnxruntime", "--epochs", "3", "--json")
    value = json.loads(text)
    assert code == 0 and value["passed"] and value["runtimes"][0]["card"]["input_shape"] == [3, 40, 48]
    assert value["test_accuracy"] > 0.9, "colours are told apart, whatever the mode of the file"
