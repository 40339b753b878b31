"""Image sets by name, their arguments, and recipes that make them again."""

import inspect
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import labkit as lk
from labkit.data import SETS, Images, ImageSet, Recipe, by_name, from_recipe, register_data, shrunk


def plain(n=6, *, seed=0, shade=1):
    draw = torch.Generator().manual_seed(seed)
    pixels = (torch.randint(0, 50, (n, 3, 32, 32), generator=draw) * shade).to(torch.uint8)
    part = Images(pixels, torch.arange(n) % 2)
    return ImageSet("plain", ("a", "b"), part, part, part, seed=seed)


@pytest.fixture
def registered():
    yield register_data("plain", plain)
    SETS.remove("plain")


def test_a_set_remembers_what_it_was_called_with(registered):
    images = registered(4, shade=3)
    assert images.made_by.name == "plain" and images.made_by.arguments == {"n": 4, "seed": 0, "shade": 3}
    assert images.digest == plain(4, shade=3).digest
    assert inspect.signature(registered) == inspect.signature(plain)
    assert [part["defined"] for part in images.made_by.parts] == [f"{__name__}:plain"]


def test_a_recipe_makes_the_same_set_again(registered):
    images = by_name("plain", seed=5, shade=2, n=8)
    kept = json.loads(json.dumps({"name": images.made_by.name, "arguments": dict(images.made_by.arguments)}))
    again = from_recipe(Recipe(**kept))
    assert again.digest == images.digest != by_name("plain", seed=6, shade=2, n=8).digest
    with pytest.raises(lk.InputError, match="was registered by module no_such_module, which cannot be imported"):
        row = {"kind": "image set", "name": "gone", "module": "no_such_module", "defined": ""}
        from_recipe(Recipe("gone", {}, parts=(row,)))


def test_a_smaller_set_has_the_first_images_and_says_so():
    images = by_name("digits")
    small = shrunk(images)
    assert [len(getattr(small, part)) for part in ("train", "valid", "test")] == [1_197, 200, 400], "all are below"
    many = Images(torch.zeros(4_000, 3, 32, 32, dtype=torch.uint8), torch.arange(4_000) % 10)
    cut = shrunk(replace(images, train=many, valid=many, test=many))
    assert [len(getattr(cut, part)) for part in ("train", "valid", "test")] == [3_000, 1_000, 2_000]
    assert cut.valid.labels.tolist() == [i % 10 for i in range(1_000)]
    assert cut.made_by.small and not images.made_by.small
    assert from_recipe(small.made_by).digest == small.digest
    assert by_name("digits", small=True).made_by == small.made_by
    assert shrunk(replace(images, made_by=None)).made_by is None


def test_arguments_that_a_set_does_not_take_are_named(registered):
    with pytest.raises(lk.InputError, match="the image set plain takes n, seed, shade; got colour"):
        by_name("plain", colour=3)
    assert by_name("plain", download=True).digest == plain().digest, "it downloads nothing, so it is not asked to"
    with pytest.raises(lk.InputError, match=r"image sets are .*; got 'plane'; did you mean plain\?"):
        by_name("plane")


def test_a_folder_is_named_with_its_path(tmp_path, monkeypatch):
    for c, label in enumerate(("cat", "dog")):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(4):
            picture = np.full((32, 32, 3), 60 * c + i, dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "pictures" / label / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    images = by_name("folder:pictures", seed=2, limit=3)
    assert images.classes == ("cat", "dog") and sum(map(len, (images.train, images.valid, images.test))) == 6
    assert images.made_by.arguments == {
        "path": str(tmp_path / "pictures"), "limit": 3, "seed": 2,
        "image": (3, 32, 32), "resize": "crop", "augment": "crop_and_flip", "skip_bad": False,
    }  # fmt: skip
    monkeypatch.chdir("/")
    assert from_recipe(images.made_by).digest == images.digest, "from another folder, too"


def test_a_function_is_to_make_an_image_set():
    register_data("wrong", lambda *, seed=0: seed)
    try:
        with pytest.raises(lk.InputError, match="image set wrong must be a function that returns an ImageSet; got 0"):
            by_name("wrong")
    finally:
        SETS.remove("wrong")


def test_a_taken_name_is_kept():
    with pytest.raises(lk.InputError, match="the image set 'digits' is registered already"):
        register_data("digits", plain)
    assert by_name("digits").name == "digits"


def test_module_and_function_name_a_set_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "sets_of_test.py").write_text(
        "import labkit as lk\n\n\ndef few(*, seed=0):\n    return lk.data.glyphs(4, 2, 2, seed=seed)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        images = by_name("sets_of_test:few", seed=3)
        assert images.digest == lk.data.glyphs(4, 2, 2, seed=3).digest
        assert images.made_by.name == "sets_of_test:few" and from_recipe(images.made_by).digest == images.digest
    finally:
        SETS.remove("sets_of_test:few")
