"""Images, architectures and sizes of spaces, as drawn."""

import pytest
import torch

import labkit as lk
from labkit import plots
from labkit.data import Images


def test_images_show_their_own_pixels_and_labels():
    draw = torch.Generator().manual_seed(0)
    part = Images(torch.randint(256, (5, 3, 32, 32), generator=draw, dtype=torch.uint8), torch.tensor([2, 0, 1, 1, 0]))
    figure = plots.images(part, ("a", "b", "c"), n=3)
    shown = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in shown] == ["c", "a", "b", "b"], "two rows, so that three need four places"
    for ax, pixels in zip(shown, part.pixels):
        assert (ax.images[0].get_array() == pixels.permute(1, 2, 0).numpy()).all()


def test_a_strip_names_the_operation_of_every_slot(space):
    (one, other) = space.sample(2, torch.Generator().manual_seed(0))
    ax = plots.strip({"one": one, "other": other}, space)
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(s, row): op for row, a in enumerate((one, other)) for s, op in enumerate(a.ops)}
    tint = {}
    for bar, text in zip(ax.patches, ax.texts, strict=True):
        assert bar.get_x() + bar.get_width() / 2 == pytest.approx(text.get_position()[0])
        tint.setdefault(text.get_text(), set()).add(bar.get_facecolor())
    assert all(len(colours) == 1 for colours in tint.values()) and len(set.union(*tint.values())) == len(tint)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "other"]
    assert [label.get_text() for label in ax.get_xticklabels()] == list(space.slot_names)


def test_more_than_seven_operations_share_tints():
    space = lk.spaces.mobile("tiny")
    names = {op for slot in space.slots for op in slot}
    (one,) = space.sample(1, torch.Generator().manual_seed(0))
    ax = plots.strip({"one": one}, space)
    assert len(ax.patches) == len(space.slots) and len({bar.get_facecolor() for bar in ax.patches}) <= min(
        7, len(names)
    )


def test_sizes_are_bars_as_long_as_the_spaces_are_large():
    ax = plots.sizes({"small": 243, "large": 8**21}, {"grains": 1e12})
    assert [bar.get_width() for bar in ax.patches] == [243, float(8**21)]
    written = [text.get_text() for text in ax.texts]
    assert written == [" grains", "243", f"{8.0**21:.1e}"]
    assert list(ax.lines[0].get_xdata()) == [1e12, 1e12] and ax.get_xscale() == "log"
    assert len(plots.sizes({"small": 243}).lines) == 0
