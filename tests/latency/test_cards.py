import dataclasses

import numpy as np
import pytest
import torch

from labkit.latency.cards import Card, Measurement, Timing
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import card_of
from labkit.system.errors import InputError


@pytest.fixture
def card():
    return card_of(TimingConditions(), (3, 32, 32))


def test_json_round_trip_and_schema(card):
    value = card.to_json()
    assert Card.from_json(value) == card
    conditions = (
        "device runtime versions dtype layout batch_size input_shape threads statistic capability driver tf32 transfers"
    )
    assert set(value) == {*conditions.split(), "protocol", "observed", "git", "date", "origin"}
    for key in value:
        with pytest.raises(InputError, match=f"a latency card is damaged: .*{key}"):
            Card.from_json({name: kept for name, kept in value.items() if name != key})
    with pytest.raises(InputError, match=r"a latency card is damaged, or of a newer version: it has colour"):
        Card.from_json(value | {"colour": "red"})


def test_a_timing_is_read_with_all_that_was_written():
    for timing in (Timing.of([1.0, 1.5, 1.2]), Timing(1.0, 1.1, 0.1, 15)):
        row = dataclasses.asdict(timing)
        assert Timing.from_json(row | {"op": "conv3x3"}) == timing, "other keys of its row are ignored"
        for key in row:
            with pytest.raises(InputError, match=f"a timing is damaged: it lacks {key}"):
                Timing.from_json({name: kept for name, kept in row.items() if name != key})


def test_differences_name_the_conditions(card):
    assert card.differences(dataclasses.replace(card, date="1999-01-01", origin="recorded")) == ()
    assert card.differences(dataclasses.replace(card, threads=99, batch_size=7)) == ("batch_size", "threads")


def test_unlike_measurements_refuse_to_be_compared(card):
    fast, slow = Timing(1.0, 1.1, 0.1, 15), Timing(2.0, 2.1, 0.1, 15)
    other_runtime = dataclasses.replace(card, runtime="onnxruntime")
    assert Measurement(fast, other_runtime).speedup_over(Measurement(slow, card)) == 2.0
    with pytest.raises(InputError, match="differ in batch_size"):
        Measurement(fast, card).speedup_over(Measurement(slow, dataclasses.replace(card, batch_size=32)))


def test_a_recorded_card_says_so(card):
    assert card.origin == "measured" and card.recorded().origin == "recorded"
    assert dataclasses.replace(card, origin="predicted").recorded().origin == "predicted"


@pytest.mark.parametrize("ms", [0, -1.0, float("nan"), float("inf"), None, "3"])
def test_impossible_milliseconds_are_refused(ms):
    with pytest.raises(InputError, match="positive number of milliseconds"):
        Timing(ms, 1.0, 0.0, 5)
    with pytest.raises(InputError, match="positive number of milliseconds"):
        Timing(1.0, ms, 0.0, 5)


def test_wrong_cards_are_refused(card):
    with pytest.raises(InputError, match="origin is one of"):
        dataclasses.replace(card, origin="guessed")
    with pytest.raises(InputError, match="'best' or 'median'"):
        dataclasses.replace(card, statistic="mean")
    with pytest.raises(InputError, match="damaged"):
        Card.from_json({"device": "x"})


def test_a_timing_sums_up_its_blocks_as_numpy_does():
    blocks = np.random.default_rng(0).gamma(3.0, 1.0, 41) + 1
    timing = Timing.of(blocks.tolist())
    assert (timing.best_ms, timing.median_ms, timing.n) == (blocks.min(), np.median(blocks), 41)
    assert timing.quartiles_ms == pytest.approx(np.quantile(blocks, (0.25, 0.75), method="weibull"))
    assert timing.spread_ms == pytest.approx(timing.quartiles_ms[1] - timing.quartiles_ms[0])
    assert timing.cv == pytest.approx(blocks.std(ddof=1) / blocks.mean())
    assert Timing.from_json(dataclasses.asdict(timing)) == timing


def test_the_intervals_are_those_of_resampling():
    """Against 20,000 bootstrap resamples: the best's reaches to the third lowest block, the median's as theirs."""
    rng = np.random.default_rng(1)
    blocks = rng.gamma(3.0, 1.0, 41) + 1
    timing = Timing.of(blocks.tolist())
    again = rng.choice(blocks, (20_000, 41))
    assert (again.min(1) <= blocks.min() * (1 + timing.best_within)).mean() >= 0.95
    assert (again.min(1) <= np.sort(blocks)[1]).mean() < 0.95, "two blocks would be too few"
    low, high = np.quantile(np.median(again, 1), (0.025, 0.975))
    assert timing.median_within == pytest.approx((high - low) / 2 / np.median(blocks), rel=0.35)


@pytest.mark.parametrize(
    ("ms", "within", "text"),
    [(0.21387, 0.02, "0.214 ms"), (0.21387, 0.3, "0.2 ms"), (12.345, 0.001, "12.35 ms"), (12.345, 0.5, "12 ms")],
)
def test_no_more_digits_than_are_known(ms, within, text):
    assert Timing(ms, ms, 0.0, 15, best_within=within).text("best") == text
    assert Timing(ms, ms, within * ms, 15).text("median") == text, "without an interval the spread decides"


def test_a_card_says_what_measured_it(card):
    assert card.capability == torch.backends.cpu.get_cpu_capability() and card.driver == "" and card.tf32 is False
    assert card.differences(dataclasses.replace(card, git="another")) == ()
    assert card.differences(dataclasses.replace(card, tf32=True, driver="1")) == ("driver", "tf32")


def test_steady():
    assert Timing(1.0, 1.0, 0.09, 15).steady and not Timing(1.0, 1.0, 0.11, 15).steady
