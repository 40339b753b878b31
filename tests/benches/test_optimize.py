"""The bench of black-box search: its tables are what they say, and its shares are of the exact front."""

import json
import sys

import numpy as np
import pytest

import labkit as lk
from labkit.benches import optimize
from labkit.cli import main


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_planted_table_has_its_share_of_interactions(share):
    """Least squares on all candidates at once explains the rest, of the cost before it is bent."""
    shape = (3,) * 5
    rows = np.stack(np.unravel_index(np.arange(3**5), shape), 1)
    surface = optimize._surface(rows, shape, share, np.random.default_rng(1))
    design = (rows[:, :, None] == np.arange(3)).reshape(len(rows), -1).astype(float)
    left = surface - design @ np.linalg.lstsq(design, surface, rcond=None)[0]
    assert left.var() / surface.var() == pytest.approx(share, abs=1e-9)


def test_shares_are_of_the_exact_front():
    table = optimize.planted(4, 3, 0.3)
    assert len(table.costs) == table.space.size == 81
    architecture = table.space[17]
    assert table(architecture) == tuple(table.costs[17]) and table.space.index(architecture) == 17
    assert table.share(table.costs) == 1 and table.share(np.array([table.worst])) == 0
    frontier = lk.Frontier.of(lk.Point(table.space[0], *map(float, cost)) for cost in table.costs)
    assert table.hypervolume == pytest.approx(frontier.hypervolume(table.worst))


def test_every_method_is_measured_with_every_seed():
    rows = optimize.bench([optimize.planted(4, 3, 0.3)], ("model", "random"), seeds=3, calls=(12, 40))
    assert [(row.method, row.calls) for row in rows] == [("model", 12), ("model", 40), ("random", 12), ("random", 40)]
    assert all(len(row.shares) == 3 and 0 < row.median <= 1 for row in rows)
    assert rows[1].median > rows[0].median and rows[1].median > rows[3].median
    text = optimize.to_text(rows, (), ())
    assert "planted 3^4, 30% interactions" in text and "mean of all tables" in text


def test_processes_find_what_one_does():
    ask = lambda workers: optimize.bench(
        [optimize.planted(4, 3, 0.3)], ("model",), seeds=3, calls=(12, 30), workers=workers
    )
    assert ask(2) == ask(1)


def test_regret_is_of_the_best_in_time():
    table = optimize.planted(4, 3, 0.3)
    (found,) = optimize.bench_deadlines([table], ("model",), seeds=2, calls=81)
    assert found.method == "model" and found.regrets == (0.0, 0.0)  # all 81 were evaluated
    (poor,) = optimize.bench_deadlines([table], ("random",), seeds=4, calls=4)
    assert poor.mean > 0.01
    assert optimize.DeadlineRow("t", "random", 1, 1.0, (0.1, None)).mean == float("inf")


def test_verdicts_hold_the_method_to_its_bars_and_its_baselines():
    small, large = optimize.planted(4, 3, 0.3), optimize.planted(7, 4, 0.3)

    def told(own, baseline, table, regret=0.0):
        rows = [
            optimize.Row(table.name, m, b.calls, (share,))
            for b in optimize.THRESHOLDS
            for m, share in zip(("model", "random"), (own, baseline))
        ]
        within = [optimize.DeadlineRow(table.name, "model", 200, 1.0, (regret,))]
        return [sentence for sentence, holds in optimize.verdicts([table], rows, within) if not holds]

    assert told(0.99, 0.98, large) == told(0.99, 0.99, small) == []
    assert len(told(0.99, 0.99, large)) == 3  # a tie does not do where the space is large
    assert len(told(0.9, 0.5, small)) == 3  # 100 calls in the mean, 200 each and in the mean
    assert len(told(0.99, 0.5, small, regret=0.003)) == 1


def test_a_library_is_a_rival():
    rows = optimize.bench([optimize.planted(4, 3, 0.3)], ("nsga2", "tpe"), seeds=1, calls=(30,))
    assert all(0.3 < row.median <= 1 for row in rows)


def test_a_library_that_is_not_installed_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(lk.InputError, match=r"pip install labkit\[baselines\]"):
        optimize.bench([optimize.planted(4, 3, 0.3)], ("nsga2",), seeds=1, calls=(12,))


def test_wrong_input_is_one_line_and_exit_code_2(capsys):
    for wrong in (["--methods", "magic"], ["--deadline-methods", "magic"], ["--seeds", "0"]):
        assert main(["bench", "optimize", "--tabular", "none", *wrong]) == 2
        assert "methods are model, policy" in capsys.readouterr().err
    with pytest.raises(lk.InputError, match="a share of the variance"):
        optimize.planted(interactions=1.5)


def test_the_command_saves_what_it_prints(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(optimize, "made_up", lambda: (optimize.planted(3, 3, 0.1),))
    monkeypatch.setattr(optimize, "CALLS", (6, 12))
    out = tmp_path / "r.json"
    asked = ["--tabular", "none", "--methods", "random", "--seeds", "2", "--workers", "1"]
    assert main(["bench", "optimize", *asked, "--out", str(out)]) == 0
    assert "random" in capsys.readouterr().out
    saved = json.loads(out.read_text())
    assert saved["rows"][0]["method"] == "random" and saved["passed"] and saved["verdicts"] == []
    assert [row["calls"] for row in saved["rows"]] == [6, 12] and [row["calls"] for row in saved["within"]] == [12]

    costs, made = optimize._costs, []
    monkeypatch.setattr(
        optimize, "_costs", lambda table, method, *more: made.append(method) or costs(table, method, *more)
    )
    more = ["bench", "optimize", "--tabular", "none", "--workers", "1", "--methods", "random,model"]
    more += ["--seeds", "2", "--out", str(out)]
    assert main(more) == 1, "12 calls are too few for its regret"
    assert set(made) == {"model"}, "what is on the disk is not done again"
    again = json.loads(out.read_text())
    assert {row["method"] for row in again["within"]} == {"random", "model"}
    assert again["rows"][:2] == saved["rows"] and len(again["rows"]) == 4 and again["verdicts"]
    assert main([*more[:-3], "3", *more[-2:]]) == 2
    assert "with another request" in capsys.readouterr().err

    made.clear()
    monkeypatch.setattr(optimize, "made_up", lambda: (optimize.planted(3, 3, 0.1), optimize.planted(3, 4, 0.3)))
    assert main(more) == 1
    assert len(made) == 8, "a table that came since is done, by two methods with two seeds, free and in time"
    monkeypatch.setattr(optimize, "made_up", lambda: (optimize.planted(3, 3, 0.2, seed=1),))
    assert main(more) == 2, "a table that went, or is another now"
    assert "is of another bench" in capsys.readouterr().err
