"""The stopwatch, by a clock that only the calls move: what it does does not depend on the machine."""

import gc
import itertools
import time
import warnings

import pytest

from labkit.latency import stopwatch
from labkit.latency.conditions import ROUNDS
from labkit.latency.stopwatch import NoisyMachine, time_interleaved


class Clock:
    """Time passes only in calls, by what they say."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        self.log = []
        monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: self.now)

    def call(self, name, seconds):
        durations = itertools.cycle(seconds) if isinstance(seconds, list) else iter(seconds, None)

        def run():
            self.log.append(name)
            self.now += next(durations)

        return run


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_a_steady_call_gets_its_blocks_and_no_more(clock):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        timing, other = time_interleaved([clock.call("a", [0.002]), clock.call("b", [0.005])], seconds=0.3, rounds=15)
    assert (timing.best_ms, timing.median_ms) == (pytest.approx(2.0), pytest.approx(2.0))
    assert other.best_ms == pytest.approx(5.0) and timing.n == other.n == 15
    assert 0.3 <= 0.002 * clock.log.count("a") <= 0.5, "the seconds that were asked for, and the warm-up"


def test_calls_take_turns_in_changing_order(clock):
    time_interleaved([clock.call(name, [0.02]) for name in "abc"], seconds=0.3, rounds=15)
    timed = [key for key, _ in itertools.groupby(clock.log[-45:])]
    assert len(timed) > 33, "a call runs twice in a row only where one round ends and the next begins"
    assert len({tuple(clock.log[-45:][i : i + 3]) for i in range(0, 45, 3)}) > 3


def test_a_call_that_warms_up_slowly_is_not_timed_cold(clock):
    """The first runs take up to eight times as long: they are over before anything is counted."""
    cold = itertools.chain((0.008 * 0.9**i for i in range(20)), itertools.repeat(0.001))

    def run():
        clock.now += next(cold)

    (timing,) = time_interleaved([run], seconds=0.05, rounds=10)
    assert timing.median_ms == pytest.approx(1.0) and timing.cv == pytest.approx(0, abs=1e-9)


def test_an_unsettled_call_is_measured_on_and_said_to_be(clock):
    noisy = [0.02 + 0.011 * (7 * i % 40) for i in range(40)]  # no two of its blocks alike
    with pytest.warns(NoisyMachine, match=r"1 of 2 timings did not settle within 2% in 20 blocks, a u") as said:
        quiet, other = time_interleaved([clock.call("a", [0.02]), clock.call("b", noisy)], seconds=0.02, rounds=10)
    assert quiet.n == 10 and other.n == 20 and said[0].filename == __file__, "it names the line that times"


def test_a_disturbed_machine_is_named_even_where_the_best_settles(clock):
    """Three blocks in four take twice as long: the best is known, and the machine was not quiet all the same."""
    with pytest.warns(NoisyMachine, match="a usual block takes 2.00 times the best"):
        (timing,) = time_interleaved([clock.call("a", [0.01, 0.02, 0.02, 0.02])], seconds=0.02, rounds=40)
    assert timing.best_ms == pytest.approx(10.0)


def test_the_garbage_collector_rests_while_timing(clock):
    seen = []
    time_interleaved([lambda: seen.append(gc.isenabled()) or clock.call("a", [0.01])()], seconds=0.02, rounds=4)
    assert not any(seen[-4:]) and gc.isenabled()


def test_the_stopwatch_agrees_with_a_known_time():
    """A sleep cannot be shorter than asked for; a mean or a wrong unit would be far off."""
    short, long = time_interleaved([lambda: time.sleep(0.002), lambda: time.sleep(0.006)], seconds=0.02)
    assert 2.0 <= short.best_ms < 4 and 6.0 <= long.best_ms < 9
    assert ROUNDS <= short.n <= 2 * ROUNDS and short.best_ms <= short.median_ms
