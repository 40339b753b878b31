"""A user's own images: folders and tar archives of pictures, one folder a class."""

import lzma
import tarfile
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import torch

from labkit.data.images import AUGMENTATIONS, SIDE, Images, ImageSet
from labkit.data.pictures import Unreadable, check_size, read
from labkit.system.errors import InputError, unknown

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
PARTS = {"train": "train", "test": "test", "val": "valid", "valid": "valid", "validation": "valid"}
MOST_BYTES = 64_000_000  # of a picture in an archive; a larger member is not read
TEST, VALID = 5, 10  # one of so many is for testing, and of the rest for validation, where no folder says so


class LeftOut(UserWarning):
    """Some files of a folder are not among the images; the text counts them."""


@dataclass(frozen=True)
class _File:
    part: str  # "train", "valid", "test" or ""
    label: str
    name: str  # the path, for messages
    content: bytes | Path


@dataclass
class _Found:
    """Pictures, and what is none of them."""

    files: list[_File] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)  # reason -> number
    empty: list[str] = field(default_factory=list)  # classes without a picture


def folder(
    path: str | Path,
    *,
    image: Sequence[int] = (3, SIDE, SIDE),
    resize: str = "crop",
    augment: str = "crop_and_flip",
    limit: int | None = None,
    skip_bad: bool = False,
    seed: int = 0,
) -> ImageSet:
    """Load your own images.

    The folders `train/`, `val/` and `test/` are used as they stand. Without `test/` a fifth of each class is for
    testing, and without `val/` a tenth of the rest of each class is for validation. Hidden files and folders are no
    pictures and no classes. What else is left out is counted in a warning `LeftOut`.

    Args:
        path: a folder with one folder a class, or with `train/` and `test/` of such folders; or a tar archive of it.
        image: channels (1 to 4), height and width in pixels, to which every picture is brought.
        resize: how, see `data.pictures.read`: "crop", "stretch" or "pad".
        augment: what training batches go through, see `AUGMENTATIONS`. Digits and signs must not be mirrored.
        limit: largest number of images of each class and part, the first ones by name; None for all.
        skip_bad: leave out pictures that cannot be read, and count them.
        seed: of the split.

    Returns:
        The images.

    Raises:
        InputError: there are no images, fewer than two classes, too few images, classes of one part that another
            lacks, or a picture that cannot be read, which is named.
    """
    path, size = Path(path).expanduser(), (*image,)
    if len(size) != 3:
        raise InputError(f"an image has channels, height and width; got {image}")
    size = (size[0], size[1], size[2])
    check_size(size, resize)
    if augment not in AUGMENTATIONS:
        raise unknown("images are augmented by", augment, AUGMENTATIONS)
    if limit is not None and limit < 1:
        raise InputError(f"a limit is at least 1 image of each class; got {limit}")
    if not path.exists():
        raise InputError(f"no images at {path}: name a folder with one folder a class, or a tar archive of it")
    found = _limited(_in_archive(path) if path.is_file() else _in_folder(path), limit)
    classes = _classes(found.files, path)
    pixels, kept = _decoded(found, size, resize, skip_bad)
    labels = torch.tensor([classes.index(file.label) for file in kept], dtype=torch.int64)
    if missing := [name for k, name in enumerate(classes) if not (labels == k).any()]:
        raise InputError(f"{path}: no picture of {', '.join(missing)} can be read")
    parts = _split([file.part for file in kept], labels, seed, path)
    said = [f"{n} {reason}" for reason, n in sorted(found.others.items()) if n]
    said += [f"the empty {'class' if len(found.empty) == 1 else 'classes'} {', '.join(found.empty)}"] * bool(
        found.empty
    )
    if said:
        warnings.warn(f"{path}: left out are {'; '.join(said)}", LeftOut, stacklevel=2)
    train, valid, test = (Images(pixels[parts == part], labels[parts == part]) for part in range(3))
    return ImageSet("folder", classes, train, valid, test, seed=seed, augment=AUGMENTATIONS[augment])


def _in_folder(path: Path) -> _Found:
    """The pictures below a folder, in the order of their names."""
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    named = {child.name for child in path.iterdir() if child.is_dir()}
    found = _sorted_out(((file.relative_to(path).parts, str(file), file) for file in files), named)
    tops = [path / part for part in named if part in PARTS] if "train" in named else [path]
    classes = [child for top in tops for child in sorted(top.iterdir()) if child.is_dir() and not _hidden(child.name)]
    known = {file.label for file in found.files}
    found.empty = sorted({child.name for child in classes} - known)
    return found


def _in_archive(path: Path) -> _Found:
    """The pictures of a tar archive, which is not unpacked. A single folder around everything does not count."""
    try:
        with tarfile.open(path) as archive:
            plain = lambda name: [part for part in PurePosixPath(name).parts if part not in (".", "/")]
            members = [(plain(m.name), m) for m in archive if m.isfile()]
            members = [(parts, m) for parts, m in members if parts and not any(map(_hidden, parts))]
            pictures, around = [parts for parts, _ in members if _is_picture(parts)], 0
            while len({parts[around] for parts in pictures}) == 1 and max(map(len, pictures)) > around + 2:
                if pictures[0][around] in PARTS:
                    break
                around += 1
            members = [(parts[around:] if len(parts) > around else parts, m) for parts, m in members]
            named = {parts[0] for parts, _ in members if len(parts) > 1}

            def contents() -> Iterator[tuple[Sequence[str], str, bytes]]:
                for parts, member in members:
                    wanted = _is_picture(parts) and member.size <= MOST_BYTES
                    picture = archive.extractfile(member) if wanted else None
                    yield parts, f"{path}:{member.name}", b"" if picture is None else picture.read()

            return _sorted_out(contents(), named)
    except (tarfile.TarError, EOFError, OSError, ValueError, lzma.LZMAError, zlib.error) as problem:
        raise InputError(f"{path} is not a whole tar archive of class folders ({problem})") from None


def _is_picture(parts: Sequence[str]) -> bool:
    return PurePosixPath(parts[-1]).suffix.lower() in SUFFIXES and not any(map(_hidden, parts))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _sorted_out(entries: Iterable[tuple[Sequence[str], str, bytes | Path]], named: set[str]) -> _Found:
    """Pictures by part and class, and a count of all else that is not hidden."""
    found, in_parts = _Found(), "train" in named
    for parts, name, content in entries:
        if any(map(_hidden, parts)):
            continue
        own = parts
        part = ""
        if in_parts:
            if parts[0] not in PARTS:
                found.others[f"outside of {', '.join(sorted(named & set(PARTS)))}"] += 1
                continue
            part, own = PARTS[parts[0]], parts[1:]
        if not _is_picture(parts):
            found.others["no pictures by their ending"] += 1
        elif len(own) != 2:
            found.others["in no folder of a class, or in a folder inside one"] += 1
        else:
            found.files.append(_File(part, own[0], name, content))
    return found


def _limited(found: _Found, limit: int | None) -> _Found:
    taken: Counter[tuple[str, str]] = Counter()
    kept = []
    for file in sorted(found.files, key=lambda file: (file.part, file.label, file.name)):
        taken[file.part, file.label] += 1
        if limit is None or taken[file.part, file.label] <= limit:
            kept.append(file)
    found.files = kept
    return found


def _classes(files: Sequence[_File], path: Path) -> tuple[str, ...]:
    """The classes, which every part must have."""
    if not files:
        raise InputError(f"{path} holds no folder of images; expected CLASS/*.png or train/CLASS/*.png")
    by_part: dict[str, set[str]] = {}
    for file in files:
        by_part.setdefault(file.part, set()).add(file.label)
    classes = by_part.get("train") or by_part.get("") or set()
    for part, labels in by_part.items():
        if odd := sorted(labels ^ classes):
            raise InputError(
                f"{path}: train/ and the {part} part have other classes: one of them lacks {', '.join(odd)}"
            )
    if len(classes) < 2:
        raise InputError(f"{path} holds one class ({', '.join(classes)}); a classifier needs at least two")
    return tuple(sorted(classes))


def _decoded(
    found: _Found, image: tuple[int, int, int], resize: str, skip_bad: bool
) -> tuple[torch.Tensor, list[_File]]:
    pixels = torch.empty(len(found.files), *image, dtype=torch.uint8)
    kept: list[_File] = []
    for file in found.files:
        try:
            pixels[len(kept)] = read(file.content, image, resize)
        except Unreadable as problem:
            if not skip_bad:
                raise InputError(
                    f"{file.name} cannot be read as a picture ({problem}): mend or remove it, or leave out such files "
                    f"with skip_bad=True (--skip-bad)"
                ) from None
            found.others["pictures that cannot be read"] += 1
            continue
        kept.append(file)
    return pixels[: len(kept)], kept


def _split(parts: Sequence[str], labels: torch.Tensor, seed: int, path: Path) -> torch.Tensor:
    """(N,) 0 for training, 1 for validation, 2 for testing: as folders say, else at random within each class."""
    of = {"train": 0, "": 0, "valid": 1, "test": 2}
    chosen = torch.tensor([of[part] for part in parts])
    generator = torch.Generator().manual_seed(seed)
    for part, share in ((2, TEST), (1, VALID)):
        if (chosen == part).any():
            continue
        for label in labels.unique():
            left = ((labels == label) & (chosen == 0)).nonzero().flatten()
            n = len(left) // share or (1 if len(left) > 1 else 0)
            chosen[left[torch.randperm(len(left), generator=generator)[:n]]] = part
    counts = [(chosen == part).sum().item() for part in range(3)]
    if min(counts) == 0:
        empty = ("learn from", "validate on", "test on")[counts.index(0)]
        raise InputError(f"{path} leaves none of {len(parts)} images to {empty}: add images, 3 of a class at least")
    return chosen
