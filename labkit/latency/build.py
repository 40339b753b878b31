"""Build a latency table for this device, and time whole networks that show how accurate it is.

Together with the table T.json a build writes T.additivity.json: the networks, their milliseconds, and the report.
Until it is complete, the parts are kept in T.measuring.json and the timed networks in T.networks.jsonl, from which a
stopped build resumes. A build that is too noisy for a verdict never replaces an older one: it becomes T.noisy.json.
"""

import os
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from labkit.latency import additivity, stopwatch
from labkit.latency.additivity import Report, Timed
from labkit.latency.conditions import ROUNDS, TimingConditions
from labkit.latency.measuring import card_of, measure
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import derive
from labkit.runtimes.registry import usable
from labkit.spaces import Architecture, SearchSpace
from labkit.system import storage
from labkit.system.device import ieee_float32
from labkit.system.errors import InputError

CHUNK = 24  # networks timed in turn with each other, and with the anchors
DRIFT = 0.03  # of the anchor: a smaller drift is the noise of the anchor itself, and is not corrected


# With one thread other programs and other networks disturb least.
CONDITIONS = TimingConditions(threads=1, seconds=0.25, rounds=3 * ROUNDS)


@dataclass(frozen=True)
class Built:
    """The result of a build.

    Attributes:
        path: file of the table.
        table: the table.
        report: how well its sums predict whole networks.
        drift: largest relative deviation of the anchor from its median, which shows how the machine's speed changed.
    """

    path: Path
    table: LatencyTable
    report: Report
    drift: float


@ieee_float32()
def build(
    out: str | Path,
    space: SearchSpace,
    conditions: TimingConditions = CONDITIONS,
    *,
    fit: int = 60,
    held_out: int = 60,
    command: str = "",
    progress: bool = False,
) -> Built:
    """Measure the parts of a space, then whole networks twice, and report.

    The result says how quiet the machine was (`drift`, and `steady` of the timings); there are no warnings.

    Args:
        out: file of the table, ending in .json. A build that was stopped resumes.
        space: whose table is built.
        conditions: under what, and for how long each part, and each network each time.
        fit: networks that predictors are fitted to.
        held_out: networks that they are scored on.
        command: the command that is recorded in the report.
        progress: whether a progress bar is shown.

    Returns:
        The table and the report, which are on disk.

    Raises:
        InputError: the runtime cannot be used here, or the files are of another build.
    """
    out = Path(out)
    if out.suffix != ".json":
        raise InputError(f"a latency table is a .json file; got {out.name}")
    storage.writable_folder(out.parent)
    usable(conditions.runtime, conditions.dtype, conditions.device)
    chosen, waiting = additivity.choose(space, fit + held_out), out.with_suffix(".networks.jsonl")
    measuring = out.with_suffix(".measuring.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stopwatch.NoisyMachine)
        table = _table(measuring, waiting, space, conditions)
        # The rounds are of a part: whole networks are timed in the usual number.
        rows = _whole(waiting, space, chosen, replace(conditions, rounds=ROUNDS), progress)
    timed, drift = _joined(chosen, rows)
    report = additivity.report(space, table, timed, min(held_out, len(timed) // 2))
    value = {
        "kind": additivity.KIND,
        "schema": additivity.SCHEMA,
        "command": command,
        "space": space.name,
        "space_digest": space.digest,
        **additivity.to_json(report),
        "largest_drift": round(drift, 4),
        "columns": ["ops", "measured_ms", "again_ms"],
    }
    lines = [[str(t.architecture), round(t.measured_ms, 6), round(t.again_ms, 6)] for t in timed]
    if report.verdict == "noisy" and out.exists():
        out = out.with_suffix(".noisy.json")
    storage.write_json(out.with_suffix(".additivity.json"), value, rows=lines)
    os.replace(measuring, out)
    waiting.unlink(missing_ok=True)
    return Built(out, table, report, drift)


def load_networks(path: str | Path, space: SearchSpace) -> tuple[Timed, ...]:
    """Read the networks of a report, to fit predictors to.

    Args:
        path: a file T.additivity.json.
        space: of the networks.

    Returns:
        The networks with both of their measurements.

    Raises:
        InputError: the file is damaged, or of another space.
    """
    value = storage.read_json(path, additivity.KIND, additivity.SCHEMA)
    if value.get("space_digest") != space.digest:
        raise InputError(f"{path} timed networks of another {space.name} ({value.get('space_digest')})")
    rows = storage.as_record(value.get("rows"), list[tuple[str, float, float]], f"{path} is a damaged report")
    return tuple(Timed(space.architecture(ops), ms, again) for ops, ms, again in rows)


def _table(measuring: Path, waiting: Path, space: SearchSpace, conditions: TimingConditions) -> LatencyTable:
    """The parts kept in `measuring` where their conditions are the same; else new ones."""
    if measuring.exists():
        table = LatencyTable.load(measuring)
        table.check(space)
        if unlike := table.card.differences(card_of(conditions, space.image)):
            raise InputError(
                f"{measuring} was started under other conditions ({', '.join(unlike)} differ): name another file, or "
                f"delete it and {waiting.name}"
            )
        return table
    table = LatencyTable.measure(space, conditions)
    waiting.unlink(missing_ok=True)  # of a build whose parts are gone
    table.save(measuring)
    return table


def _whole(
    waiting: Path,
    space: SearchSpace,
    chosen: Sequence[Architecture],
    conditions: TimingConditions,
    progress: bool,
) -> list[dict[str, Any]]:
    """A row for each chunk and pass: milliseconds of its networks and of two anchors. Finished rows are read."""
    chunks = [chosen[i : i + CHUNK] for i in range(0, len(chosen), CHUNK)]
    jobs = [(again, i) for again in (0, 1) for i in range(len(chunks))]
    rows = {(row["again"], row["chunk"]): row for row in storage.resume_lines(waiting)}
    for again, i in tqdm(jobs, disable=not progress, desc="whole networks", unit="chunk"):
        names = [str(a) for a in chunks[i]]
        if (again, i) in rows:
            if rows[again, i]["ops"] != names or "anchors_ms" not in rows[again, i]:
                raise InputError(f"{waiting} is of another build: delete it")
            continue
        networks = [derive(space, a) for a in (chosen[0], *chunks[i], chosen[0])]
        first, *ms, last = (m.measured_ms for m in measure(networks, conditions, image=space.image))
        row = {"again": again, "chunk": i, "ops": names, "anchors_ms": [first, last], "ms": ms}
        storage.append_line(waiting, row)
        rows[again, i] = row
    return [rows[job] for job in jobs]


def _joined(chosen: Sequence[Architecture], rows: Sequence[dict[str, Any]]) -> tuple[list[Timed], float]:
    """Both measurements of each network, divided by the drift of the machine where both anchors show one."""
    usual = statistics.median(ms for row in rows for ms in row["anchors_ms"])
    drifts = [min((ms / usual - 1 for ms in row["anchors_ms"]), key=abs) for row in rows]
    passes: tuple[list[float], list[float]] = ([], [])
    for row, drift in zip(rows, drifts):
        passes[row["again"]].extend(ms / (1 + drift if abs(drift) > DRIFT else 1.0) for ms in row["ms"])
    return [Timed(a, *ms) for a, *ms in zip(chosen, *passes)], max(map(abs, drifts))
