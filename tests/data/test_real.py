"""Real images: digits, folders, archives and published sets."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import labkit as lk
from labkit.data import SIDE, by_name, folder


def check_shapes(images):
    for part in (images.train, images.valid, images.test):
        assert part.pixels.shape[1:] == (3, SIDE, SIDE) and part.pixels.dtype == torch.uint8
        assert part.labels.dtype == torch.int64 and part.labels.max() < len(images.classes)


def test_digits_are_real_and_their_parts_disjoint():
    images = lk.data.digits(seed=3)
    check_shapes(images)
    assert (len(images.train), len(images.valid), len(images.test)) == (1197, 200, 400)
    rows = [tuple(p.flatten().tolist()) for part in (images.train, images.valid, images.test) for p in part.pixels]
    assert len(set(rows)) == len(rows)
    assert lk.data.digits(seed=3).digest == images.digest != lk.data.digits(seed=4).digest


@pytest.fixture
def pictures(tmp_path):
    """Two classes of real files of odd sizes and modes, in train/ and test/."""
    draw = np.random.default_rng(0)
    for part, n in (("train", 20), ("test", 4)):
        for label, mode in (("cat", "RGB"), ("dog", "L")):
            place = tmp_path / "set" / part / label
            place.mkdir(parents=True)
            for i in range(n):
                shape = (40, 50, 3) if mode == "RGB" else (33, 35)
                Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8), mode).save(place / f"{i:02}.png")
    return tmp_path / "set"


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
def test_folder_and_archive_give_the_same_images(pictures, tmp_path):
    images = folder(pictures)
    check_shapes(images)
    assert images.classes == ("cat", "dog") and len(images.test) == 8 and len(images.train) + len(images.valid) == 40
    archive = tmp_path / "set.tar.gz"
    with tarfile.open(archive, "w:gz") as out:
        for path in sorted(pictures.rglob("*.png")):
            out.add(path, Path("set") / path.relative_to(pictures))
    assert sorted(folder(archive).train.pixels.flatten(1).sum(1).tolist()) == sorted(
        images.train.pixels.flatten(1).sum(1).tolist()
    )
    assert len(folder(archive, limit=3).test) == 6
    archive.write_bytes(archive.read_bytes()[:500])
    with pytest.raises(lk.InputError, match="not a whole tar archive"):
        folder(archive)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
def test_a_folder_without_a_test_part_is_split(pictures):
    images = folder(pictures / "train")
    assert (len(images.train), len(images.valid), len(images.test)) == (30, 2, 8)
    few = folder(pictures / "train", limit=4)
    assert (len(few.train), len(few.valid), len(few.test)) == (4, 2, 2)
    with pytest.raises(lk.InputError, match=r"leaves none of 2 images to validate on: add images"):
        folder(pictures / "train", limit=1)


def test_missing_data_is_refused_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    for name in ("cifar10", "cifar100", "fashion-mnist"):
        with pytest.raises(lk.InputError, match=f"{name} is not in .* nothing is downloaded without a request"):
            by_name(name)
    with pytest.raises(lk.InputError, match="no images at"):
        by_name("folder:" + str(tmp_path / "none"))
    with pytest.raises(lk.InputError, match="holds no folder of images"):
        folder(tmp_path)
    with pytest.raises(lk.InputError, match="image sets are glyphs, glyphs-hard, digits"):
        by_name("imagenet")


def test_fashion_mnist_reads_torchvisions_own_files(tmp_path):
    """The raw format of the archive, written here: what torchvision would find after its download."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for part, n in (("train", 100), ("t10k", 30)):
        pixels, labels = draw.integers(0, 256, (n, 28, 28), dtype=np.uint8), draw.integers(0, 10, n, dtype=np.uint8)
        header = lambda *numbers: b"".join(int(x).to_bytes(4, "big") for x in numbers)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header(0x803, n, 28, 28) + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header(0x801, n) + labels.tobytes())
    images = lk.data.fashion_mnist(tmp_path)
    check_shapes(images)
    assert (len(images.train), len(images.valid), len(images.test)) == (90, 10, 30) and len(images.classes) == 10
    assert images.test.labels.tolist() == labels.tolist()


def test_real_images():
    archive = os.environ.get("LABKIT_IMAGES")
    if not archive:
        pytest.skip("LABKIT_IMAGES names no archive or folder of real images")
    images = folder(archive, limit=20)
    check_shapes(images)
    assert len(images.test) == 20 * len(images.classes)
    smooth = images.test.pixels.float().diff(dim=-1).abs().mean()
    noise = torch.randint(0, 256, (9, 3, SIDE, SIDE)).float().diff(dim=-1).abs().mean()
    assert smooth < noise / 3, "photographs are smoother than noise"
