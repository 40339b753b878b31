"""Folders and archives as they are: parts, classes, bad files, and what is left out is counted."""

import tarfile
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

import labkit as lk
from labkit.data import LeftOut, folder


def picture(path, value=0, size=(20, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(abs(hash(str(path))) % 2**32).integers(0, 256, (*size, 3), dtype=np.uint8)
    pixels[0, 0] = value
    Image.fromarray(pixels).save(path)


def fill(root, **numbers):
    """`a=3` makes three pictures in the folder a; `train__a=3` in train/a."""
    for label, n in numbers.items():
        for i in range(n):
            picture(root.joinpath(*label.split("__")) / f"{i:03}.png", i)
    return root


def sizes(images):
    return tuple(len(part) for part in (images.train, images.valid, images.test))


def archive_of(root, path, mode="w"):
    with tarfile.open(path, mode) as out:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                out.add(file, f"set/{file.relative_to(root)}")
    return path


@pytest.fixture(params=["folder", "tar", "tar.gz", "tar.xz"])
def loaded(request, tmp_path):
    """`loaded(root, ...)` reads a folder, or the archive of it: both follow the same rules."""

    def loaded(root, **options):
        if request.param == "folder":
            return folder(root, **options)
        kind = request.param.partition(".")[2]
        return folder(archive_of(root, tmp_path / f"set.{request.param}", f"w:{kind}"), **options)

    return loaded


def test_train_val_and_test_are_used_as_they_stand(tmp_path, loaded):
    for name in ("val", "valid", "validation"):
        root = fill(tmp_path / name, train__a=6, train__b=6, test__a=2, test__b=3, **{f"{name}__a": 1, f"{name}__b": 2})
        images = loaded(root)
        assert sizes(images) == (12, 3, 5) and images.classes == ("a", "b")
        assert images.valid.labels.tolist() == [0, 1, 1] and images.test.labels.tolist() == [0, 0, 1, 1, 1]


def test_other_splits_hold_every_class(tmp_path, loaded):
    images = loaded(fill(tmp_path / "x", a=50, b=10, c=3), seed=1)
    assert sizes(images) == (44, 6, 13)
    for part, counts in (("test", {0: 10, 1: 2, 2: 1}), ("valid", {0: 4, 1: 1, 2: 1}), ("train", {0: 36, 1: 7, 2: 1})):
        assert Counter(getattr(images, part).labels.tolist()) == counts, part
    rows = [tuple(p.flatten().tolist()) for part in (images.train, images.valid, images.test) for p in part.pixels]
    assert len(set(rows)) == len(rows) == 63, "no picture is in two parts"
    assert loaded(tmp_path / "x", seed=1).digest == images.digest != loaded(tmp_path / "x", seed=2).digest


def test_a_folder_and_its_archive_are_the_same_images(tmp_path):
    root = fill(tmp_path / "x", train__a=5, train__b=5, test__a=2, test__b=2)
    assert folder(root).digest == folder(archive_of(root, tmp_path / "x.tar")).digest
    assert folder(root, limit=3).digest == folder(archive_of(root, tmp_path / "y.tar"), limit=3).digest


def test_hidden_members_and_a_note_around_an_archive_change_no_class(tmp_path):
    root = fill(tmp_path / "x", a=6, b=6)
    with tarfile.open(tmp_path / "x.tar", "w") as out:
        for name in ("._set", ".DS_Store", ".trash/old/0.png", "README.txt"):
            out.add(root / "a" / "000.png", name)
        for file in sorted(root.rglob("*.png")):
            out.add(file, f"set/{file.relative_to(root)}")
    with pytest.warns(LeftOut, match="1 no pictures by their ending"):
        images = folder(tmp_path / "x.tar")
    assert images.classes == ("a", "b") and images.digest == folder(root).digest


def test_what_is_left_out_is_counted(tmp_path, loaded):
    root = fill(tmp_path / "x", a=6, b=6, a__deeper=3)
    picture(root / "alone.png")
    (root / "a" / "notes.txt").write_text("text")
    (root / "b" / "table.csv").write_text("1,2")
    picture(root / ".ipynb_checkpoints" / "0.png")
    picture(root / "__MACOSX" / "a" / "0.png")
    (root / "a" / "._000.png").write_bytes(b"resource")
    with pytest.warns(LeftOut, match="2 no pictures by their ending") as said:
        images = loaded(root)
    assert "4 in no folder of a class, or in a folder inside one" in str(said[0].message)
    assert images.classes == ("a", "b") and sum(sizes(images)) == 12


def test_an_empty_class_and_other_folders_are_named(tmp_path):
    root = fill(tmp_path / "x", train__a=4, train__b=4, extra__a=2)
    (root / "train" / "nothing").mkdir()
    with pytest.warns(LeftOut, match=r"2 outside of train; the empty class nothing"):
        folder(root)


def test_nothing_is_said_where_nothing_is_left_out(tmp_path, recwarn):
    folder(fill(tmp_path / "x", a=4, b=4))
    assert not [w for w in recwarn if w.category is LeftOut]


def test_a_bad_picture_is_named_or_skipped_and_counted(tmp_path, loaded):
    root = fill(tmp_path / "x", a=8, b=8)
    (root / "a" / "003.png").write_bytes((root / "a" / "003.png").read_bytes()[:100])
    with pytest.raises(lk.InputError, match=r"a/003.png cannot be read as a picture .*skip_bad=True \(--skip-bad\)$"):
        loaded(root)
    with pytest.warns(LeftOut, match="1 pictures that cannot be read"):
        assert sum(sizes(loaded(root, skip_bad=True))) == 15
    for file in (root / "a").iterdir():
        file.write_bytes(b"")
    with pytest.raises(lk.InputError, match="no picture of a can be read"):
        loaded(root, skip_bad=True)


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"train__a": 4, "train__b": 4, "test__a": 2, "test__c": 2}, "train/ and the test part have other classes"),
        ({"train__a": 4, "train__b": 4, "test__a": 2}, "lacks b"),
        ({"train__a": 4, "train__b": 4, "val__b": 2}, "train/ and the valid part have other classes.* lacks a"),
        ({"a": 9}, "holds one class"),
        ({"a": 1, "b": 1}, "leaves none of 2 images to validate on: add images, 3 of a class"),
        ({}, "holds no folder of images"),
    ],
)
def test_what_makes_no_set_is_refused(tmp_path, numbers, says):
    (tmp_path / "x").mkdir()
    with pytest.raises(lk.InputError, match=says):
        folder(fill(tmp_path / "x", **numbers))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image": (3, 32)}, "channels, height and width"),
        ({"image": (7, 32, 32)}, "1 to 4 channels"),
        ({"resize": "zoom"}, "crop, stretch, pad"),
        ({"augment": "flips"}, "did you mean flip"),
        ({"limit": 0}, "at least 1 image"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, says):
    with pytest.raises(lk.InputError, match=says):
        folder(fill(tmp_path / "x", a=4, b=4), **options)


def test_any_size_any_channels_and_a_named_augmentation(tmp_path):
    root = fill(tmp_path / "x", a=6, b=6)
    for image in ((1, 28, 28), (3, 96, 128), (4, 33, 20), (2, 40, 40)):
        images = folder(root, image=image, augment="crop")
        assert images.image == image and images.augment is lk.data.AUGMENTATIONS["crop"]
        assert (
            lk.data.from_recipe(lk.data.by_name(f"folder:{root}", image=image, augment="none").made_by).augment is None
        )
    assert folder(root, augment="none").augment is None


@pytest.mark.parametrize("name", ["crop", "flip", "crop_and_flip"])
@pytest.mark.parametrize("shape", [(16, 1, 28, 28), (16, 3, 64, 40), (16, 4, 33, 96)])
def test_augmentations_keep_the_size_and_move_each_image(name, shape):
    pixels = torch.randint(1, 256, shape, dtype=torch.uint8)
    torch.manual_seed(0)
    moved = lk.data.AUGMENTATIONS[name](pixels)
    assert moved.shape == pixels.shape and moved.dtype == torch.uint8 and not torch.equal(moved, pixels)
    if name == "flip":
        mirrored = pixels.flip(-1)
        assert all(torch.equal(m, p) or torch.equal(m, q) for m, p, q in zip(moved, pixels, mirrored))
    if name == "crop":
        rows = moved.flatten(0, 1).flatten(1).unique().tolist()
        assert set(rows) <= set(pixels.unique().tolist()) | {0}
