"""`tabular`: the exact answer of a small space."""

import argparse

from labkit.cli.arguments import Outcome, add_acts, add_verb, check_timing, resumes, starts_over, usable_device
from labkit.cli.records import typed
from labkit.system.errors import InputError


def add(verbs) -> None:
    """Add the verb `tabular`.

    Args:
        verbs: the subparsers to add it to.
    """
    acts = add_acts(
        verbs, "tabular", "the exact answer of a small space: train all of it, time all of it, evaluate the result"
    )
    of_all = lambda arguments: (resumes if arguments.sample is None else starts_over)(arguments)
    p = add_verb(acts, "build", build, "train every architecture; a stopped one resumes", stopped=of_all)
    p.add_argument("--space", default="five_layer")
    p.add_argument("--data", default="glyphs-hard")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--workers", type=int, help="training processes; all cores by default")
    p.add_argument("--sample", type=int, metavar="N", help="train N random rows again and compare")
    p.add_argument("--out", default="data/tabular/five_layer", help="folder of the tabular benchmark")

    p = add_verb(acts, "latency", latency, "time every architecture end to end, as a latency table was timed")
    p.add_argument("table", help="the latency table whose conditions are used: a file or a shipped name")
    p.add_argument("--seconds", type=float, default=0.3, help="of timing an architecture")
    p.add_argument("--rounds", type=int, default=30, help="blocks that its seconds are cut into")
    p.add_argument("--device", default="cpu", help="cpu or cuda: the one that the table was measured on")
    p.add_argument("--out", required=True, help="file of the latencies")

    p = add_verb(acts, "report", report, "say whether a tabular benchmark is good enough to evaluate by")
    p.add_argument("tabular", nargs="?", default="five_layer", help="folder, or the name of a shipped one")


def build(arguments: argparse.Namespace) -> Outcome:
    """Train all architectures of a small space.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and whether the table passed.
    """
    from labkit import spaces
    from labkit.benches.tabular import build as building

    if arguments.workers is not None and arguments.workers < 1:
        raise InputError(f"training needs at least one worker; got {arguments.workers}")
    if arguments.sample is not None:
        return _sample(arguments)
    space, seeds = spaces.by_name(arguments.space), arguments.seeds
    how = {"workers": arguments.workers, "command": typed(), "progress": True}
    new = building.build(arguments.out, space, data_name=arguments.data, seeds=seeds, **how)
    total = space.size * seeds
    value = {"schema": 1, "tabular": str(arguments.out), "trained": new, "total": total, "passed": True}
    text = f"{new} networks trained, {total - new} were there\nsaved in {arguments.out}"
    return value, text, True


def _sample(arguments: argparse.Namespace) -> Outcome:
    from labkit.benches.tabular import build as building
    from labkit.benches.tabular import report as tabular_report
    from labkit.benches.tabular import table as tabular

    known = tabular.load(arguments.out)
    rows = building.retrain(known, arguments.sample, workers=arguments.workers, progress=True)
    check = tabular_report.repeat_threshold(known, rows)
    lines = [
        f"{row['ops']} seed {row['seed']}: {100 * row['test_accuracy']:.2f} %, "
        f"recorded {100 * row['recorded_test_accuracy']:.2f} %"
        for row in rows
    ]
    value = {
        "schema": 1,
        "passed": check.passed,
        "rows": rows,
        "difference_points": check.value,
        "threshold_points": check.threshold,
    }
    return value, "\n".join([*lines, str(check)]), check.passed


def latency(arguments: argparse.Namespace) -> Outcome:
    """Time all architectures of a small space.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and whether the measurement passed.
    """
    from labkit.benches.tabular import table as tabular
    from labkit.benches.tabular import timing
    from labkit.latency.table import LatencyTable
    from labkit.system import storage

    check_timing(arguments)
    storage.writable_file(arguments.out, "end-to-end latencies")
    table = LatencyTable.load(arguments.table)
    space = timing.space_of(table)
    device = usable_device(arguments)
    timed = timing.time_all(space, table, seconds=arguments.seconds, rounds=arguments.rounds, device=device)
    tabular.save_timed(timed, space, arguments.out)
    low, high = timed.measured_ms.min().item(), timed.measured_ms.max().item()
    text = f"{space.size} architectures: {low:.3f} to {high:.3f} ms end to end ({timed.card})\nsaved in {arguments.out}"
    value = {"schema": 1, "latencies": str(arguments.out), "range_ms": [low, high], "card": timed.card.to_json()}
    return value, text, True


def report(arguments: argparse.Namespace) -> Outcome:
    """Report on a tabular benchmark.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and whether its thresholds hold.
    """
    from labkit.benches.tabular import report as tabular_report
    from labkit.benches.tabular import table as tabular

    value = tabular_report.to_json(known := tabular.load(arguments.tabular))
    return value, tabular_report.to_text(known), value["passed"]
