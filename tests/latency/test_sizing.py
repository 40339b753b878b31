"""Sizes against a full scan with a made-up clock."""

import random

import pytest

from labkit.latency.sizing import READINGS, SLACK, USED, sized
from labkit.networks.controls import FAMILIES, MOBILENET, RESNET, Control


def made_up(control: Control) -> float:
    """A time that grows with the depth, and with the width faster than in a line."""
    return control.depth * (0.2 + 0.01 * control.width + 0.001 * control.width**2)


@pytest.mark.parametrize("limit", [0.3, 0.5, 1.0, 3.0, 9.0, 50.0])
def test_the_size_is_the_widest_of_its_depth_and_near_the_published_width(limit):
    asked = []

    def clock(control):
        asked.append(control)
        return made_up(control)

    fit = sized(RESNET, limit, clock)
    known = FAMILIES[RESNET]
    fits = lambda depth: [w for w in range(1, known.most + 1) if made_up(Control(RESNET, depth, w)) <= SLACK * limit]
    widest = {depth: Control(RESNET, depth, fits(depth)[-1]) for depth in known.depths if fits(depth)}
    assert fit.control == widest[fit.control.depth], "the widest that fits"
    assert fit.time == made_up(fit.control) <= SLACK * limit
    used = [control for control in widest.values() if made_up(control) >= USED * limit]
    far = lambda control: max(control.width / 16, 16 / control.width)
    if used:
        assert fit.control in used and far(fit.control) == min(map(far, used))
    assert len(set(asked)) <= 75 and len(asked) <= READINGS * len(set(asked)), "the stopwatch costs seconds"
    assert all(made_up(control) > SLACK * limit for control in asked if asked.count(control) > 1)


def test_a_busy_machine_does_not_end_the_search():
    """One reading in four takes three times as long; the smallest of three is rarely such."""
    draw = random.Random(0)
    noisy = lambda control: made_up(control) * (3 if draw.random() < 0.25 else 1)
    quiet = sized(RESNET, 3.0, made_up)
    fits = [sized(RESNET, 3.0, noisy) for _ in range(20)]
    assert sum(fit.time >= USED * 3.0 for fit in fits) >= 15 and quiet.control in [fit.control for fit in fits]


def test_a_longer_limit_is_used_by_depth_before_width():
    sizes = [sized(RESNET, limit, made_up).control for limit in (1.0, 3.0, 6.0)]
    assert [size.depth for size in sizes] == [2, 3, 9] and [size.width for size in sizes] == [12, 24, 16]


def test_nothing_fits_what_is_too_short():
    assert sized(RESNET, 0.2, made_up) is None
    assert sized(MOBILENET, 1e-9, lambda control: 1.0) is None


def test_the_largest_is_taken_where_time_is_left():
    assert sized(RESNET, 1e9, made_up).control == Control(RESNET, 18, 64)
