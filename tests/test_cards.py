import dataclasses

import pytest

from labkit.cards import Card, Measurement, Timing
from labkit.errors import InputError
from labkit.latency import card_of


@pytest.fixture
def card():
    return card_of("torch", 1, (3, 32, 32))


def test_json_round_trip_and_schema(card):
    value = card.to_json()
    assert Card.from_json(value) == card
    expected = "device runtime versions dtype layout batch_size input_shape threads statistic protocol date origin"
    assert set(value) == set(expected.split())


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


def test_steady():
    assert Timing(1.0, 1.0, 0.09, 15).steady and not Timing(1.0, 1.0, 0.11, 15).steady
