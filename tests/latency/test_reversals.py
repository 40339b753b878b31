"""Architectures that change places between tables: against pairs counted one by one."""

import itertools
import subprocess
from shutil import which

import pytest
import scipy.stats

import labkit as lk
from labkit.latency import reversals
from labkit.latency.reversals import RankReversals, Side

LEFT, RIGHT = (1.0, 2.0, 3.0, 3.0), (2.0, 8.0, 1.0, 9.0)
MADE = RankReversals(("w", "x", "y", "z"), (Side("left", "a card", LEFT), Side("right", "another", RIGHT)))


def test_pairs_that_swap_are_those_counted_one_by_one():
    counted = [(a, b) for a, b in itertools.combinations(range(4), 2) if (LEFT[a] < LEFT[b]) and (RIGHT[a] > RIGHT[b])]
    assert (
        [pair for pair in itertools.combinations(range(4), 2) if MADE.swaps(0, 1, *pair)] == counted == [(0, 2), (1, 2)]
    )
    assert MADE.share(0, 1) == pytest.approx(len(counted) / 6) and MADE.share(0, 0) == 0
    assert not MADE.swaps(0, 1, 2, 3), "a tie on one side is no swap"


def test_the_share_of_swaps_of_two_recorded_tables(space):
    """Layers 3 and 4 are of one size, so their parts may change places without a change in milliseconds: many ties."""
    tables = {n: lk.LatencyTable.load(f"five_layer-{n}") for n in ("torch-b1", "onnxruntime-b32")}
    every = list(space)
    made = reversals.rank_reversals(tables, every, [str(a) for a in every])
    pairs = list(zip(*(side.ms for side in made.sides)))
    swapped = sum((a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(pairs, 2))
    assert made.share(0, 1) == pytest.approx(swapped / (243 * 242 / 2))
    assert len({side.ms[i] for side in made.sides for i in range(243)}) < 2 * 200, "rounding does not order ties"
    tau = scipy.stats.kendalltau(*zip(*pairs), variant="c").statistic
    assert abs(made.share(0, 1) - (1 - tau) / 2) < 0.15


def test_the_widest_swap():
    assert MADE.widest(0, 1) == (0, 2), "3 times faster on the left and 2 times slower on the right"
    assert MADE.widest(0, 0) == (0, 1)


def test_places_begin_with_the_fastest():
    assert MADE.sides[0].places == [0, 1, 2, 3] and MADE.sides[1].places == [1, 2, 0, 3]


def test_words():
    assert MADE.words(0, 1, 1, 2) == "They swap: A is faster under left, B under right."
    assert MADE.words(0, 1, 2, 1) == "They swap: B is faster under left, A under right."
    assert MADE.words(0, 1, 0, 1) == "No swap: A is faster on both."
    assert MADE.words(0, 0, 2, 3) == "No swap: they are equally fast."


@pytest.mark.skipif(which("node") is None, reason="needs node")
def test_the_browser_says_the_same_words(tmp_path):
    import json

    module = tmp_path / "reversals.mjs"
    module.write_text(reversals.MODULE.read_text())
    cases = [
        (s, t, a, b) for s, t in itertools.product((0, 1), repeat=2) for a, b in itertools.permutations(range(4), 2)
    ]
    code = (
        f"import {{ words }} from {json.dumps(module.as_uri())};"
        f"const data = {json.dumps(MADE.for_browser())};"
        f"console.log(JSON.stringify({json.dumps(cases)}.map((c) => words(data, ...c))))"
    )
    done = subprocess.run(["node", "--input-type=module", "-e", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [MADE.words(*case) for case in cases]


@pytest.mark.parametrize(
    ("labels", "sides", "says"),
    [
        (("a", "b"), MADE.sides[:1], "two tables or more"),
        (("a", "b"), MADE.sides, "left has 4 latencies for 2 architectures"),
        (("a",) * 501, MADE.sides, "at most 500 architectures"),
    ],
)
def test_what_cannot_be_drawn_is_refused(labels, sides, says):
    with pytest.raises(lk.InputError, match=says):
        RankReversals(labels, sides)
