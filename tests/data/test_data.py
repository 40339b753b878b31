import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import labkit as lk
from labkit.data import SIDE, Images, by_name, crop_and_flip, folder, glyphs, import_torchvision, standardise
from labkit.networks.supernet import seeded


def check_shapes(images):
    for part in (images.train, images.valid, images.test):
        assert part.pixels.shape[1:] == (3, SIDE, SIDE) and part.pixels.dtype == torch.uint8
        assert part.labels.dtype == torch.int64 and part.labels.max() < len(images.classes)


def test_glyphs_come_from_the_seed():
    small = lambda seed: glyphs(40, 20, 20, seed=seed)
    check_shapes(small(0))
    assert small(0).digest == small(0).digest != small(1).digest
    assert {part: small(0).card()[part] for part in ("train", "valid", "test")} == {
        "train": 40,
        "valid": 20,
        "test": 20,
    }


def test_glyphs_can_be_told_apart_by_something_simple():
    """Nearest class mean beats chance on clean glyphs and noise alone does not: the labels belong to the pictures."""
    images = glyphs(800, 10, 400, noise=0.0, texture=0.0)

    def ink(part):
        grey = part.pixels.float().mean(1)
        return (grey - grey.flatten(1).median(1).values[:, None, None]).abs().flatten(1)

    means = torch.stack([ink(images.train)[images.train.labels == c].mean(0) for c in range(10)])
    guess = torch.cdist(torch.nn.functional.normalize(ink(images.test)), torch.nn.functional.normalize(means)).argmin(1)
    accuracy = (guess == images.test.labels).float().mean()
    shuffled = (guess == images.test.labels.roll(1)).float().mean()
    assert accuracy > 0.25 and shuffled < 0.2


def test_clutter_lies_at_the_edges_and_leaves_letters_alone():
    plain, among = (glyphs(200, 1, 1, noise=0.0, texture=0.0, clutter=n).train for n in (0, 3))
    assert plain.labels.equal(among.labels)
    changed = (plain.pixels != among.pixels).any(1).float().mean(0)
    edges = torch.ones(SIDE, SIDE, dtype=torch.bool)
    edges[6:-6, 6:-6] = False
    assert changed[edges].mean() > 0.1 > 5 * changed[12:20, 12:20].mean()


def test_letters_are_moved_as_torch_moves_them():
    maps = torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(0))
    there = torch.nn.functional.affine_grid(maps, (50, 1, 32, 32), align_corners=False)
    assert torch.allclose(lk.data.generated._grid(maps), there, atol=1e-6)
    exact = torch.nn.functional.affine_grid(maps.double(), (50, 1, 32, 32), align_corners=False)
    assert (lk.data.generated._grid(maps) - exact).abs().max() < 1e-6


def test_letters_turn_as_far_as_they_are_told():
    straight, turned = (
        glyphs(200, 1, 1, noise=0.0, texture=0.0, turn=turn).train.pixels.float() for turn in (0.0, 3.1)
    )
    assert (straight - turned).abs().mean() > 5
    assert straight.equal(glyphs(200, 1, 1, noise=0.0, texture=0.0, turn=0.0).train.pixels.float())


def test_glyphs_any_letters():
    assert glyphs(30, 10, 10, letters="xyz").classes == ("x", "y", "z")
    with pytest.raises(lk.InputError, match="two different letters"):
        glyphs(10, 10, 10, letters="aa")
    with pytest.raises(lk.InputError, match="every part needs an image"):
        glyphs(10, 0, 10)
    with pytest.raises(lk.InputError, match="none of these is negative"):
        glyphs(10, 10, 10, clutter=-1)


def test_digits_are_real_and_their_parts_disjoint():
    images = lk.data.digits(seed=3)
    check_shapes(images)
    assert (len(images.train), len(images.valid), len(images.test)) == (1197, 200, 400)
    rows = [tuple(p.flatten().tolist()) for part in (images.train, images.valid, images.test) for p in part.pixels]
    assert len(set(rows)) == len(rows)
    assert lk.data.digits(seed=3).digest == images.digest != lk.data.digits(seed=4).digest


def test_batches():
    images = Images(torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2), torch.arange(10))
    in_order = [labels.tolist() for _, labels in images.batches(4)]
    assert in_order == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    shuffled = [labels.tolist() for _, labels in images.batches(4, torch.Generator().manual_seed(0))]
    assert [len(batch) for batch in shuffled] == [4, 4] and len({label for batch in shuffled for label in batch}) == 8
    pixels, _ = next(images.batches(4))
    torch.testing.assert_close(pixels[3], standardise(images.pixels[3]))
    assert pixels.dtype == torch.float32 and standardise(torch.tensor([0, 255])).tolist() == [-2.0, 2.0]


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
    assert (len(images.train), len(images.valid), len(images.test)) == (29, 3, 8)
    few = folder(pictures / "train", limit=4)
    assert (len(few.train), len(few.valid), len(few.test)) == (6, 1, 1)
    with pytest.raises(lk.InputError, match=r"leaves 1 of 2 images to learn from and to validate on.*add images"):
        folder(pictures / "train", limit=1)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
def test_a_picture_that_cannot_be_read_is_named(pictures):
    (pictures / "train" / "cat" / "00.png").write_bytes(b"not a picture")
    with pytest.raises(lk.InputError, match="class cat cannot be read"):
        folder(pictures)


def test_missing_data_is_refused_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    for name in ("cifar10", "cifar100", "fashion-mnist"):
        with pytest.raises(lk.InputError, match=f"{name} is not in .* nothing is downloaded unless asked"):
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


def test_torchvision_works_beside_this_torch():
    transforms = import_torchvision().transforms
    assert transforms.v2.functional.horizontal_flip(torch.tensor([[[1, 2]]])).tolist() == [[[2, 1]]]


def test_augmentation_treats_each_image_on_its_own():
    pixels = torch.randint(0, 256, (1, 3, SIDE, SIDE), dtype=torch.uint8).expand(16, -1, -1, -1)
    changed = crop_and_flip(pixels)
    assert changed.shape == pixels.shape and changed.dtype == torch.uint8
    assert len({tuple(c.flatten().tolist()) for c in changed}) > 8


def test_each_image_is_cropped_and_mirrored_out_of_itself():
    """Against every crop of the padded picture, and its mirror image."""
    with seeded(0):
        pixels = torch.randint(1, 256, (60, 3, SIDE, SIDE), dtype=torch.uint8)
        cropped = crop_and_flip(pixels)
    padded, places = torch.nn.functional.pad(pixels, (4,) * 4), set()
    for i, changed in enumerate(cropped):
        crops = padded[i].unfold(1, SIDE, 1).unfold(2, SIDE, 1)  # (3, 9, 9, SIDE, SIDE)
        ways = {False: crops, True: crops.flip(-1)}
        same = {m: (crop == changed[:, None, None]).all(-1).all(-1).all(0).nonzero() for m, crop in ways.items()}
        ((mirrored, where),) = ((m, at) for m, at in same.items() if len(at))
        places.add((mirrored, *where[0].tolist()))
    assert {mirrored for mirrored, *_ in places} == {False, True}
    assert {top for _, top, _ in places} > {0, 4, 8} < {left for *_, left in places}, "from border to border"


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
