"""Every architecture timed end to end, compared with the sums of a table."""

import pytest

import labkit as lk
from labkit.benches.tabular import table as tabular
from labkit.benches.tabular import timing
from labkit.latency.cards import Timing


def test_the_shipped_latencies_stand_beside_the_sums_of_parts(known):
    names = {timed.name.partition("/")[2] for timed in known.latencies}
    assert {f"{runtime}-b{batch}" for runtime in ("torch", "onnxruntime") for batch in (1, 32)} <= names
    for timed in known.latencies:
        assert len(timed.timings) == 243 and timed.card.origin == "recorded" and timed.card.device
        table = timing.table_of(known.space, timed)
        assert known.latency_like(table.card) is timed
        assert list(timed.table_ms) == pytest.approx([table.table_ms(a) for a in known.space], abs=1e-5)


def test_end_to_end_latencies_keep_their_order_on_the_way_to_disk_and_back(small, tmp_path):
    table = lk.LatencyTable.measure(small, lk.TimingConditions(seconds=0.01, rounds=3))
    timed = timing.time_all(small, table, seconds=0.01, rounds=3)
    tabular.save_timed(timed, small, tmp_path / "torch-b1.json")
    back = tabular.load_timed(tmp_path / "torch-b1.json", small)
    assert back.timings[2].best_ms == pytest.approx(timed.timings[2].best_ms, abs=1e-6)
    assert back.card == timed.card.recorded() and isinstance(back.timings[0], Timing)
    assert list(back.table_ms) == pytest.approx([table.table_ms(a) for a in small], abs=1e-6)
