"""The command line: `python -m labkit VERB`. A wrong request is one line and exit code 2."""

import argparse
import json
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

from labkit.errors import InputError

Outcome = tuple[dict[str, Any], str, bool]  # JSON, text for people, passed


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        value, text, passed = arguments.verb(arguments)
    except InputError as problem:
        print(f"labkit: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"labkit: {stop if stop.args else 'stopped'}", file=sys.stderr)
        return 130
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) if arguments.json else text)
    return 0 if passed else 1


# --- verbs: arguments -> outcome. Heavy modules are imported by the verb that needs them. --------------------


def doctor(_: argparse.Namespace) -> Outcome:
    from labkit.doctor import examine, report

    findings = examine()
    value = report(findings)
    return value, "\n".join(map(str, findings)), value["passed"]


def run(arguments: argparse.Namespace) -> Outcome:
    from labkit import headless, storage

    out = storage.writable_folder(arguments.out)
    parameters = dict(_assignment(text) for text in arguments.parameter)
    fast = not arguments.full
    say = (lambda report: print(report, file=sys.stderr, flush=True)) if not arguments.json else None
    if arguments.notebook == "all":
        if parameters:
            raise InputError("`run all` takes no -p: the notebooks have different parameters; run one by number")
        reports = headless.run_all(out, fast=fast, on_report=say)
    else:
        reports = [headless.run(headless.find(arguments.notebook), out, parameters, fast=fast)]
    rows = [
        {
            "notebook": report.notebook,
            "seconds": round(report.seconds, 1),
            "peak_rss_mb": round(report.peak_rss_mb),
            "cells": report.cells,
            "problems": list(report.problems),
            "passed": report.passed,
        }
        for report in reports
    ]
    passed = all(row["passed"] for row in rows)
    total = sum(row["seconds"] for row in rows)
    text = "\n".join([*map(str, reports), f"{len(rows)} notebooks, {total:.0f} s, {'passed' if passed else 'FAILED'}"])
    return {"schema": 1, "passed": passed, "seconds": round(total, 1), "notebooks": rows}, text, passed


def search(arguments: argparse.Namespace) -> Outcome:
    from labkit import Checkpoints, Supernet, random_search, runs, searching, storage
    from labkit.pareto import JUDGED
    from labkit.search_config import SelectionConfig
    from labkit.selection import select

    config = _search_config(
        arguments,
        estimator=arguments.estimator,
        task_cost=arguments.task_cost,
        latency_weight=arguments.latency_weight,
        target_ms=arguments.target_ms,
        deadline_ms=arguments.deadline_ms,
        seed=arguments.seed,
    )
    device = _device(arguments)
    space, data, table = _space_data_table(arguments)
    data = data.to(device)
    out = storage.writable_folder(arguments.out)
    go = random_search if arguments.random else searching.search
    checkpoints = Checkpoints(out / "checkpoints")
    supernet = Supernet(space, arguments.seed).to(device)
    result = go(supernet, data, table, config, checkpoints=checkpoints, progress=_on_terminal())
    if arguments.select:
        (result,) = select([result], data, table, SelectionConfig.suited(space.name, fast=arguments.fast))
    runs.save(result, out, data, table, data_name=arguments.data, small=arguments.fast)
    checkpoints.clear()
    point = result.point
    value = {
        "schema": 1,
        "run": str(out),
        "architecture": list(point.architecture.ops),
        "error": point.error,
        "error_from": point.error_from,
        "table_ms": point.latency_ms,
        "table_card": table.card.to_json(),
        "passes": result.passes,
        "seconds": round(result.seconds, 1),
    }
    text = (
        f"{point.architecture}\n{100 * point.error:.1f} % error on validation images {JUDGED[point.error_from]}, "
        f"{point.latency_ms:.3f} ms by the table ({table.card})\nsaved in {out}; next: python -m labkit export {out}"
    )
    return value, text, True


def study(arguments: argparse.Namespace) -> Outcome:
    if arguments.seeds is not None:
        return _compare(arguments)
    from labkit import Supernet, runs, storage
    from labkit.search_config import SearchConfig

    weights = _numbers(arguments.latency_weights, "--latency-weights")
    config = _search_config(arguments, seed=arguments.seed)
    for weight in weights:
        SearchConfig(latency_weight=weight)
    space, data, table = _space_data_table(arguments)
    storage.writable_folder(Path(arguments.out).parent)
    supernet = Supernet(space, arguments.seed)
    made = runs.study(supernet, data, table, weights, config, command=_command(), progress=_on_terminal())
    runs.save_study(made, arguments.out)
    if arguments.picture:
        from labkit import plots

        storage.write_atomically(arguments.picture, lambda file: file.write_bytes(plots.study(made).png))
    picks = [
        {"latency_weight": w, "architecture": list(p.architecture.ops), "error": p.error, "table_ms": p.latency_ms}
        for w, p in made.picks
    ]
    text = "\n".join(
        f"weight {w:<5g} {p.architecture}  {100 * p.error:.1f} %  {p.latency_ms:.3f} ms" for w, p in made.picks
    )
    return {"schema": 1, "study": str(arguments.out), "picks": picks}, text, True


def _compare(arguments: argparse.Namespace) -> Outcome:
    """A study of many seeds: is the search worth it?"""
    from labkit import comparison, storage, truth
    from labkit.search_config import SelectionConfig
    from labkit.training import RECIPE

    weights = _numbers(arguments.latency_weights, "--latency-weights")
    rivals, estimators = _words(arguments.rivals), _words(arguments.estimators)
    storage.writable_folder(Path(arguments.out).parent)
    space, data, table = _space_data_table(arguments)
    known = None
    if not arguments.train and (storage.DATA / "truth" / space.name).exists():
        known = truth.load(space.name)
        if known.recipe["data"]["digest"] != data.digest or known.space.digest != space.digest:
            known = None
    latency = None if known is None else known.latency_like(table.card).name
    told = lambda row: print(f"seed {row.seed}: {row.method}, {row.seconds:.0f} s", file=sys.stderr, flush=True)
    found = comparison.compare(
        space, data, table, weights, arguments.out,
        config=_search_config(arguments, task_cost=arguments.task_cost),
        selection=SelectionConfig.suited(space.name, fast=arguments.fast),
        training=RECIPE, seeds=arguments.seeds, rivals=rivals, estimators=estimators, truth=known,
        made=_made(), on_row=told,
    )  # fmt: skip
    if arguments.picture:
        from labkit import plots

        figure = plots.comparison(*comparison.drawn(found, known, latency))
        alt = "What each method's choices cost, a dot a seed, at each latency weight."
        storage.write_atomically(arguments.picture, lambda file: file.write_bytes(plots.picture(figure, alt).png))
    value = {
        "schema": 1,
        "study": str(arguments.out),
        "rows": [asdict(row) for row in found.rows],
        "verdicts": [asdict(verdict) for verdict in comparison.verdicts(found, known, latency)],
    }
    return value, comparison.to_text(found, known, latency), True


def latency_build(arguments: argparse.Namespace) -> Outcome:
    from labkit import additivity, latency_build, spaces

    space = spaces.by_name(arguments.space, arguments.classes)
    if arguments.batch_size < 1:
        raise InputError(f"a batch has at least one image; got {arguments.batch_size}")
    _check_timing(arguments)
    if arguments.threads < 1:
        raise InputError(f"a network runs on at least one thread; got {arguments.threads}")
    if arguments.networks < 20:
        raise InputError(
            f"at least 20 whole networks are timed, half to fit and half to test; got {arguments.networks}"
        )
    device = _device(arguments)
    built = latency_build.build(
        arguments.out,
        space,
        runtime=arguments.runtime,
        batch_size=arguments.batch_size,
        dtype=arguments.dtype,
        device=device,
        threads=arguments.threads,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        fit=arguments.networks // 2,
        held_out=arguments.networks - arguments.networks // 2,
        command=_command(),
        progress=_on_terminal(),
    )
    table, report = built.table, built.report
    low, high = table.range_ms()
    unsteady = [f"{op} in layer {s + 1}" for s, slot in enumerate(table.slots) for op, t in slot if t and not t.steady]
    lines = [f"{space.name}: {low:.3f} to {high:.3f} ms by the table ({table.card})", additivity.to_text(report)]
    seen = [f"the blocks of {len(unsteady)} parts spread over 10 %"] * bool(unsteady)
    if built.drift > latency_build.DRIFT:
        seen.append(f"its speed changed by up to {built.drift:.0%} on the way")
    if seen:
        lines.append(f"the machine was not quiet: {', and '.join(seen)}")
    value = {"schema": 1, "table": str(built.path), "range_ms": [low, high], "unsteady": unsteady}
    value |= {"drift": built.drift, "additivity": additivity.to_json(report), "card": table.card.to_json()}
    if built.path != Path(arguments.out):
        lines.append(f"the older table {arguments.out} stays")
    return value, "\n".join([*lines, f"saved in {built.path}"]), True


def export(arguments: argparse.Namespace) -> Outcome:
    from labkit import export as exporting
    from labkit import runs, storage, tensorrt_engines
    from labkit.runtimes import runtime, usable
    from labkit.training import TrainConfig

    names, precisions = _words(arguments.runtimes), _words(arguments.precisions)
    for name in names:
        runtime(name)
    for precision in precisions:
        if precision not in exporting.PRECISIONS:
            raise InputError(f"precisions are {', '.join(exporting.PRECISIONS)}; got {precision!r}")
    if arguments.engine is not None:
        tensorrt_engines.module(arguments.engine)
    if arguments.verify:
        usable(arguments.verify)
    if arguments.architectures < 3:
        raise InputError(f"a rank agreement needs at least 3 architectures; got {arguments.architectures}")
    loaded = runs.load(arguments.run)
    config = TrainConfig(epochs=arguments.epochs, seed=loaded.result.config.seed)
    data = loaded.image_set(download=arguments.download)
    network, accuracy = runs.train_chosen(loaded, data, config, progress=_on_terminal())
    path = exporting.to_onnx(network, loaded.folder / "network.onnx")
    engines = _build_engines(arguments, network, data, precisions, loaded.folder / "engines")
    rows = exporting.benchmark(
        network,
        data.test,
        runtimes=names,
        precisions=precisions,
        batch_size=arguments.batch_size,
        onnx_model=path.read_bytes(),
        calibration=data.train,
    )
    rows = [row for row in rows if row.name in names and row.precision in precisions]
    passed = all(row.computes_the_same for row in rows if row.available)
    value = {
        "schema": 1,
        "architecture": list(loaded.result.architecture.ops),
        "test_accuracy": accuracy,
        "onnx": str(path),
        "runtimes": [row.to_json() for row in rows],
        "passed": passed,
    }
    text = "\n".join(
        [
            f"{loaded.result.architecture}",
            f"test accuracy {100 * accuracy:.2f} % over {len(data.test)} images, trained from scratch",
            f"{path}",
            *(text for _, text in engines),
            *map(str, rows),
        ]
    )
    storage.write_json(loaded.folder / "export.json", {"kind": "export", **value})
    value["engines"] = [engine for engine, _ in engines]
    if arguments.verify:
        loop, more = _close_the_loop(arguments, loaded, data)
        value["closed_loop"], text = loop, f"{text}\n\n{more}"
    return value, text, passed


def report(arguments: argparse.Namespace) -> Outcome:
    from labkit import reports

    path = Path(arguments.out or Path(arguments.run) / "report.html")
    reports.write(arguments.run, path, download=arguments.download)
    found = reports.read(path)
    text = "\n".join([*(claim.says for claim in found), f"saved in {path}; check it: python -m labkit verify {path}"])
    return {"schema": 1, "report": str(path), "claims": [claim.says for claim in found]}, text, True


def verify(arguments: argparse.Namespace) -> Outcome:
    from labkit import reports

    verdicts = []
    for verdict in reports.verify(reports.read(arguments.report), full=arguments.full, download=arguments.download):
        verdicts.append(verdict)
        if not arguments.json:
            print(verdict, file=sys.stderr, flush=True)
    counts = {outcome: sum(v.outcome == outcome for v in verdicts) for outcome in reports.OUTCOMES}
    passed = counts["drifted"] == 0
    rows = [{"claim": v.claim.says, "outcome": v.outcome, "found": v.found} for v in verdicts]
    text = ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
    return {"schema": 1, "passed": passed, **counts, "claims": rows}, text, passed


def _build_engines(arguments, network, data, precisions, folder) -> list[tuple[dict[str, Any], str]]:
    """An engine of `--engine` a precision, kept in `folder`, and a line on each."""
    from labkit import export as exporting
    from labkit import tensorrt_engines

    if arguments.engine is None:
        return []
    settings = tensorrt_engines.Settings(
        tensorrt_engines.Profile(1, arguments.batch_size, max(64, arguments.batch_size))
    )
    built = []
    for precision in precisions:
        model = exporting.model_for(network, arguments.engine, precision, data.train)
        engine = tensorrt_engines.cached(model, settings, folder, flavour=arguments.engine)
        row = {"precision": precision, "flavour": engine.flavour, "version": engine.version}
        row |= {"bytes": len(engine.plan), "layers": engine.layers, "seconds": round(engine.seconds, 2)}
        text = (
            f"engine {precision}: {len(engine.plan) / 1024:.0f} KiB by {engine.flavour} {engine.version}, from "
            f"{engine.layers} layers in {engine.seconds:.1f} s, kept in {folder}"
        )
        built.append((row, text))
    return built


def _close_the_loop(arguments, loaded, data) -> tuple[dict[str, Any], str]:
    """What the search believed of its frontier beside the runtime that is deployed."""
    from labkit import closed_loop, plots, storage

    result = loaded.result
    points = closed_loop.along_the_frontier(
        result.supernet, data, loaded.table, result.config, result.architecture, arguments.architectures
    )
    loop = closed_loop.close(
        loaded.space, points, loaded.table, runtime=arguments.verify, batch_size=arguments.batch_size
    )
    value = {"kind": "closed loop", "schema": 1, **loop.to_json()}
    storage.write_json(loaded.folder / "closed_loop.json", value)
    picture = loaded.folder / "closed_loop.png"
    drawn = plots.picture(plots.closed_loop(loop), closed_loop.to_text(loop))
    storage.write_atomically(picture, lambda file: file.write_bytes(drawn.png))
    return value, f"{closed_loop.to_text(loop)}\nsaved in {picture.with_suffix('.json')} and {picture.name}"


def truth_build(arguments: argparse.Namespace) -> Outcome:
    from labkit import spaces, truth

    if arguments.workers is not None and arguments.workers < 1:
        raise InputError(f"training needs at least one worker; got {arguments.workers}")
    if arguments.sample is not None:
        return _truth_sample(arguments)
    space = spaces.by_name(arguments.space)
    new = truth.build(
        arguments.out,
        space,
        data_name=arguments.data,
        seeds=arguments.seeds,
        workers=arguments.workers,
        command=_command(),
        progress=True,
    )
    total = space.size * arguments.seeds
    value = {"schema": 1, "truth": str(arguments.out), "trained": new, "total": total, "passed": True}
    text = f"{new} networks trained, {total - new} were there\nsaved in {arguments.out}"
    return value, text, True


def _truth_sample(arguments: argparse.Namespace) -> Outcome:
    from labkit import truth, truth_report

    known = truth.load(arguments.out)
    rows = truth.retrain(known, arguments.sample, workers=arguments.workers, progress=True)
    bar = truth_report.repeat_bar(known, rows)
    lines = [
        f"{row['ops']} seed {row['seed']}: {100 * row['test_accuracy']:.2f} %, "
        f"recorded {100 * row['recorded_test_accuracy']:.2f} %"
        for row in rows
    ]
    value = {"schema": 1, "passed": bar.passed, "rows": rows, "difference_points": bar.value, "bar_points": bar.bar}
    return value, "\n".join([*lines, str(bar)]), bar.passed


def truth_latency(arguments: argparse.Namespace) -> Outcome:
    from labkit import storage, truth
    from labkit.latency import LatencyTable

    _check_timing(arguments)
    storage.writable_folder(Path(arguments.out).parent)
    table = LatencyTable.load(arguments.table)
    space = truth.space_of(table)
    device = _device(arguments)
    timed = truth.time_all(space, table, seconds=arguments.seconds, rounds=arguments.rounds, device=device)
    truth.save_timed(timed, space, arguments.out)
    low, high = timed.measured_ms.min().item(), timed.measured_ms.max().item()
    text = f"{space.size} architectures: {low:.3f} to {high:.3f} ms end to end ({timed.card})\nsaved in {arguments.out}"
    value = {"schema": 1, "latencies": str(arguments.out), "range_ms": [low, high], "card": timed.card.to_json()}
    return value, text, True


def truth_show(arguments: argparse.Namespace) -> Outcome:
    from labkit import truth, truth_report

    value = truth_report.to_json(known := truth.load(arguments.truth))
    return value, truth_report.to_text(known), value["passed"]


def bench_estimators(arguments: argparse.Namespace) -> Outcome:
    from tqdm.auto import tqdm

    from labkit import estimator_bench, storage, truth

    if arguments.samples < 2 * estimator_bench.DRAWS:
        raise InputError(f"the bench takes at least {2 * estimator_bench.DRAWS} samples; got {arguments.samples}")
    temperatures = _numbers(arguments.temperatures, "--temperatures")
    softenings = _numbers(arguments.softenings, "--softenings")
    if min(temperatures) <= 0 or min(softenings) < 0:
        raise InputError(
            f"temperatures are above 0 and softenings 0 or more; got {arguments.temperatures}, {arguments.softenings}"
        )
    known = truth.load(arguments.truth)
    problems = (*estimator_bench.toy_problems(), *estimator_bench.table_problems(known))
    every = {problem.name: problem for problem in problems}
    chosen = [name.strip() for name in arguments.problems.split(";")] if arguments.problems else list(every)
    for name in chosen:
        if name not in every:
            raise InputError(f"problems are {', '.join(every)}; got {name!r}")
    if arguments.out:
        storage.writable_folder(Path(arguments.out).parent)
    over = [every[name] for name in chosen]
    total = estimator_bench.size_of(over, temperatures, softenings)
    with tqdm(total=total, disable=not _on_terminal(), desc="bench") as bar:
        rows = estimator_bench.bench(
            over,
            temperatures=temperatures,
            softenings=softenings,
            samples=arguments.samples,
            on_row=lambda row: bar.update(),
        )
    if not arguments.problems:
        rows += (estimator_bench.skipped_row(10 * arguments.samples),)
    passed = estimator_bench.passed(rows)
    value = {
        "kind": "estimator bench",
        "schema": 1,
        "passed": passed,
        "made": _made(),
        "milliseconds_per_10000_samples": round(estimator_bench.milliseconds_per_estimate(), 2),
        "rows": estimator_bench.to_json(rows),
    }
    if arguments.out:
        _save_with_rows(arguments.out, value)
    return value, estimator_bench.to_text(rows), passed


def bench_supernet(arguments: argparse.Namespace) -> Outcome:
    from labkit import data, supernet_bench, truth
    from labkit.search_config import SearchConfig

    known = truth.load(arguments.truth)
    images = data.by_name(known.recipe["data"]["name"])
    config = SearchConfig.fast() if arguments.fast else SearchConfig()
    config = replace(config, weight_average=arguments.average)
    how = {name: _words(getattr(arguments, name)) for name in ("samples", "statistics")}
    how["equal_cost"] = arguments.equal_cost
    asked = {"config": asdict(config), "statistics": how["statistics"], "equal_cost": arguments.equal_cost}
    value = {"kind": supernet_bench.KIND, "schema": supernet_bench.SCHEMA, "asked": asked}
    value["made"] = _made() | {"data": known.recipe["data"]}
    before, scans = _earlier(arguments.out, value), []
    done = supernet_bench.from_json(before) if before else ()

    def keep(scan: supernet_bench.Scan) -> None:
        print(supernet_bench.to_text(known, [scan]).splitlines()[-1], file=sys.stderr, flush=True)
        scans.append(scan)
        if arguments.out:
            _save_with_rows(arguments.out, value | {"rows": supernet_bench.to_json((*done, *scans))})

    found = supernet_bench.measure(known, images, config, seeds=arguments.seeds, done=done, on_scan=keep, **how)
    value["rows"] = supernet_bench.to_json(found)
    if arguments.out:
        _save_with_rows(arguments.out, value)
    return value | {"passed": True}, supernet_bench.to_text(known, found), True


def bench_sweep(arguments: argparse.Namespace) -> Outcome:
    from labkit import data, sweep_bench, truth
    from labkit.search_config import SearchConfig

    known = truth.load(arguments.truth)
    latency = known.latency(arguments.latency).name
    table = truth.table_of(known.space, known.latency(latency))
    images = data.by_name(known.recipe["data"]["name"])
    config = SearchConfig.fast() if arguments.fast else SearchConfig()
    weights = _numbers(arguments.latency_weights, "--latency-weights")
    asked = {"config": asdict(config), "latency_weights": list(weights), "latency": latency, "data": images.digest}
    value = {"kind": sweep_bench.KIND, "schema": sweep_bench.SCHEMA, "made": _made(), "asked": asked}
    before, out = _earlier(arguments.out, value), arguments.out
    done = sweep_bench.from_json(before) if before else []

    def save(rows: list) -> None:
        print(sweep_bench.to_text(known, rows[-1:], latency).splitlines()[-1], file=sys.stderr, flush=True)
        if out:
            _save_with_rows(out, value | {"rows": sweep_bench.to_json(rows)})

    rows = sweep_bench.measure(
        known, images, table, config, latency_weights=weights, seeds=arguments.seeds, done=done, on_row=save
    )
    text = sweep_bench.to_text(known, rows, latency)
    return value | {"rows": sweep_bench.to_json(rows), "passed": True}, text, True


def bench_step(arguments: argparse.Namespace) -> Outcome:
    from labkit import data, latency, spaces, step_bench, storage
    from labkit.stopwatch import threads

    chosen = [spaces.by_name(name) for name in arguments.spaces.split(",")]
    chosen += [step_bench.fewer(chosen[-1], n) for n in arguments.candidates]
    sizes = [int(n) for n in _numbers(arguments.batch_sizes, "--batch-sizes")]
    if arguments.threads < 1:
        raise InputError(f"a step runs on at least one thread; got {arguments.threads}")
    device = _device(arguments)
    if arguments.out:
        storage.writable_folder(Path(arguments.out).parent)
    images = data.glyphs(max(1_000, 2 * max(sizes)), max(1_000, 2 * max(sizes)), 10, seed=0)

    def quick(space: spaces.SearchSpace) -> latency.LatencyTable:
        with warnings.catch_warnings():  # of a noisy machine: any table will do here
            warnings.simplefilter("ignore")
            return latency.LatencyTable.measure(space, seconds=0.002)

    told = lambda row: print(step_bench.to_text([row]).splitlines()[-1], file=sys.stderr, flush=True)
    with threads(arguments.threads):
        rows = step_bench.measure(
            chosen, images, quick, batch_sizes=sizes, seconds=arguments.seconds, device=device, on_row=told
        )
    value = {"kind": step_bench.KIND, "schema": step_bench.SCHEMA, "made": _made(device)}
    value["rows"] = step_bench.to_json(rows)
    if arguments.out:
        _save_with_rows(arguments.out, value)
    return value | {"passed": True}, step_bench.to_text(rows), True


def bench_deploy(arguments: argparse.Namespace) -> Outcome:
    from labkit import deploy_bench, derive, runs, storage
    from labkit.stopwatch import threads

    sizes = [int(n) for n in _numbers(arguments.batch_sizes, "--batch-sizes")]
    if arguments.threads < 1:
        raise InputError(f"a network runs on at least one thread; got {arguments.threads}")
    if arguments.out:
        storage.writable_folder(Path(arguments.out).parent)
    device, loaded = _device(arguments), runs.load(arguments.run)
    images = loaded.image_set()
    network = derive(loaded.result.supernet, loaded.result.architecture)
    told = lambda race: print(deploy_bench.to_text([race]), file=sys.stderr, flush=True)
    with threads(arguments.threads):
        races = deploy_bench.race(
            network, images, batch_sizes=sizes, device=device, seconds=arguments.seconds, on_race=told
        )
    value = {
        "kind": deploy_bench.KIND,
        "schema": deploy_bench.SCHEMA,
        "made": _made(device) | {"data": loaded.data},
        "rows": deploy_bench.to_json(races),
    }
    if arguments.out:
        _save_with_rows(arguments.out, value)
    same = all(row.computes_the_same for one in races for row in one.rows if row.available)
    return value | {"passed": same}, f"saved in {arguments.out}" if arguments.out else "", same


def bench_engines(arguments: argparse.Namespace) -> Outcome:
    import torch

    from labkit import data, derive, engine_bench, runs, spaces, storage, tensorrt_engines

    tensorrt_engines.module(arguments.flavour)
    if arguments.out:
        storage.writable_folder(Path(arguments.out).parent)
    if arguments.runs:
        chosen = [(run, run.image_set()) for run in map(runs.load, arguments.runs)]
        networks = [(derive(run.result.supernet, run.result.architecture), images) for run, images in chosen]
    else:
        images, draw = data.glyphs(1_000, 100, 100), torch.Generator().manual_seed(0)
        made = (spaces.five_layer(), spaces.mobile("tiny"))
        networks = [(derive(space, space.sample(1, draw)[0]), images) for space in made]
    rows = tuple(
        row
        for network, images in networks
        for row in engine_bench.builds(network, images.train, flavour=arguments.flavour)
    )
    passed = engine_bench.as_expected(rows)
    value = {
        "kind": engine_bench.KIND,
        "schema": engine_bench.SCHEMA,
        "passed": passed,
        "made": _made(),
        "rows": engine_bench.to_json(rows),
    }
    if arguments.out:
        _save_with_rows(arguments.out, value)
    return value, "\n".join(map(str, rows)), passed


def bench_deadlines(arguments: argparse.Namespace) -> Outcome:
    from tqdm.auto import tqdm

    from labkit import deadline_bench, storage, truth

    known = truth.load(arguments.truth)
    if arguments.out:
        storage.writable_folder(Path(arguments.out).parent)
    at = deadline_bench.quantiles(arguments.deadlines)
    with tqdm(total=len(at) * len(deadline_bench.METHODS), disable=not _on_terminal(), desc="bench") as bar:
        rows = deadline_bench.measure(
            known, at=at, seeds=arguments.seeds, latency=arguments.latency, on_row=lambda row: bar.update()
        )
    over = deadline_bench.summaries(known, rows, arguments.latency)
    value = {
        "kind": "deadline bench",
        "schema": 1,
        "passed": deadline_bench.passed(over),
        "made": _made(),
        "latencies": str(known.latency(arguments.latency).card),
        "summary": [asdict(summary) for summary in over],
        "rows": deadline_bench.to_json(rows),
    }
    if arguments.out:
        _save_with_rows(arguments.out, value)
    return value, deadline_bench.to_text(rows, over), value["passed"]


def bench_optimize(arguments: argparse.Namespace) -> Outcome:
    from tqdm.auto import tqdm

    from labkit import optimize_bench, truth

    methods = _words(arguments.methods)
    hurried = _words(arguments.deadline_methods) if arguments.deadline_methods else methods
    optimize_bench.check([*methods, *hurried], arguments.seeds)
    known = None if arguments.truth == "none" else truth.load(arguments.truth)
    tables = (*(optimize_bench.of_truth(known) if known else ()), *optimize_bench.made_up())
    areas = {table.name: round(table.hypervolume, 6) for table in tables}  # tells another table of the same name
    asked = {"seeds": arguments.seeds, "calls": list(optimize_bench.CALLS), "tables": areas}
    value = {"kind": optimize_bench.KIND, "schema": optimize_bench.SCHEMA, "made": _made(), "asked": asked}
    before = _earlier(arguments.out, value)
    rows, within = map(list, optimize_bench.from_json(before)) if before else ([], [])

    def keep(row: optimize_bench.Row | optimize_bench.DeadlineRow) -> None:
        (rows if isinstance(row, optimize_bench.Row) else within).append(row)
        bar.update()
        if arguments.out:
            _save_with_rows(arguments.out, value | _optimize_json(rows, within))

    alike = {"seeds": arguments.seeds, "on_row": keep, "workers": arguments.workers}
    total = len(tables) * (len(methods) * len(optimize_bench.CALLS) + len(hurried))
    with tqdm(total=total, initial=len(rows) + len(within), disable=not _on_terminal(), desc="bench") as bar:
        found = optimize_bench.bench(tables, methods, calls=optimize_bench.CALLS, done=tuple(rows), **alike)
        in_time = optimize_bench.bench_deadlines(
            tables, hurried, calls=max(optimize_bench.CALLS), done=tuple(within), **alike
        )
    verdicts = optimize_bench.verdicts(tables, found, in_time)
    passed = all(holds for _, holds in verdicts)
    value |= _optimize_json(found, in_time) | {
        "passed": passed,
        "verdicts": [{"says": sentence, "holds": holds} for sentence, holds in verdicts],
    }
    if arguments.out:
        _save_with_rows(arguments.out, value)
    return value, optimize_bench.to_text(found, in_time, verdicts), passed


def _optimize_json(rows: Sequence[Any], within: Sequence[Any]) -> dict[str, Any]:
    from labkit import optimize_bench

    return {"rows": optimize_bench.to_json(rows), "within": optimize_bench.deadlines_to_json(within)}


def notebooks(arguments: argparse.Namespace) -> Outcome:
    from labkit import editions, storage

    root = storage.DATA.parent
    if arguments.act == "build":
        written = [str(path.relative_to(root)) for path in editions.build(root)]
        return {"schema": 1, "written": written, "passed": True}, "\n".join(written), True
    if arguments.act == "figures":
        written = [str(path.relative_to(root)) for path in editions.execute_static(root, arguments.numbers)]
        return {"schema": 1, "written": written, "passed": True}, "\n".join(written), True
    problems = [*editions.check(root), *(p for source in editions.sources(root) for p in editions.lint(source))]
    text = "\n".join(problems) or "the notebooks agree with their sources"
    return {"schema": 1, "problems": problems, "passed": not problems}, text, not problems


# --- arguments ----------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"labkit: {message} (see `{self.prog} --help`)", file=sys.stderr)
        raise SystemExit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m labkit", description="Hardware-aware neural architecture search.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(
        name: str, function: Callable[[argparse.Namespace], Outcome], text: str, under=verbs
    ) -> argparse.ArgumentParser:
        added = under.add_parser(name, help=text, description=text)
        added.set_defaults(verb=function)
        added.add_argument("--json", action="store_true", help="print JSON")
        return added

    verb("doctor", doctor, "say what this machine has and what to do about each gap")

    p = verb("run", run, "execute a notebook, or all, headless")
    p.add_argument("notebook", help="a number such as 06, or all")
    p.add_argument("--out", default="runs/notebooks", help="folder for the executed notebooks")
    p.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE")
    p.add_argument("--full", action="store_true", help="full size instead of FAST")

    p = verb("search", search, "search an architecture and save the run")
    _add_search_arguments(p)
    p.add_argument("--estimator", default="unas")
    p.add_argument("--task-cost", default="cross-entropy", help="of what is drawn: cross-entropy, or its error itself")
    p.add_argument("--latency-weight", type=float, default=0.1, help="error fraction per millisecond")
    p.add_argument("--target-ms", type=float, help="with one, only milliseconds beyond it cost")
    p.add_argument("--deadline-ms", type=float, help="with one, what is chosen takes no longer")
    p.add_argument("--random", action="store_true", help="random search at the cost of a UNAS search")
    p.add_argument(
        "--select", action="store_true", help="then train the best of the most probable themselves, and choose by that"
    )
    p.add_argument("--device", default="cpu", help="cpu or cuda: where weights are trained")
    p.add_argument("--out", required=True, help="folder of the run")

    p = verb("study", study, "search once a latency weight, beside random search, and save one JSON file")
    _add_search_arguments(p)
    p.add_argument("--latency-weights", default="0,0.03,0.1,0.2,0.4,0.8", help="error fraction per millisecond")
    p.add_argument("--out", required=True, help="file of the study")
    p.add_argument(
        "--seeds", type=int, help="with it: so many sweeps beside their rivals, by what training makes of it"
    )
    rivals = "random-selected,random,evolution,local-search"
    p.add_argument("--rivals", default=rivals, help=f"{rivals}; also archive-mutation, model, nsga2, tpe")
    p.add_argument("--task-cost", default="cross-entropy", help="of what is drawn: cross-entropy, or its error itself")
    p.add_argument("--estimators", default="", help="with --seeds: sweeps that follow these, at the same cost, too")
    p.add_argument("--train", action="store_true", help="train what was chosen even if a truth table knows it")
    p.add_argument("--picture", help="file of its frontier, PNG; with --seeds, of the costs")

    text = "what a millisecond is here: a latency table for this machine, and how far to trust it"
    acts = verbs.add_parser("latency", help=text, description=text).add_subparsers(required=True, metavar="ACT")
    p = verb("build", latency_build, "measure a table, then whole networks beside it; goes on where it stopped", acts)
    p.add_argument("--space", default="five_layer")
    p.add_argument("--classes", type=int, default=10)
    p.add_argument("--runtime", default="torch")
    p.add_argument("--batch-size", type=int, default=1)
    p.add_argument("--threads", type=int, default=1, help="cores a network may use; with one, others disturb least")
    p.add_argument("--dtype", default="float32", help="or float16, bfloat16, where the runtime takes them")
    p.add_argument("--device", default="cpu", help="or cuda")
    p.add_argument("--seconds", type=float, default=0.25, help="of timing a part, or a whole network")
    p.add_argument("--rounds", type=int, default=45, help="blocks that a part's seconds are cut into")
    p.add_argument("--networks", type=int, default=120, help="timed whole: half to fit predictors, half to test them")
    p.add_argument("--out", required=True, help="file of the table, .json")

    p = verb("export", export, "train a run's choice from scratch, export it to ONNX, check and time it")
    p.add_argument("run", help="folder of a search")
    p.add_argument("--runtimes", default="torch,torch-channels-last,onnxruntime,tensorrt")
    p.add_argument("--precisions", default="fp32", help="such as fp32,fp16,int8: each runtime in each")
    p.add_argument("--batch-size", type=int, default=1)
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--engine", help="build TensorRT engines too: tensorrt, or tensorrt-rtx, which needs no GPU for it")
    text = "time architectures along the frontier in RUNTIME: what the search's table believed, and what is"
    p.add_argument("--verify", nargs="?", const="onnxruntime", metavar="RUNTIME", help=text)
    p.add_argument("--architectures", type=int, default=20, help="so many of them")
    p.add_argument("--download", action="store_true", help="let torchvision fetch the image set")

    p = verb("report", report, "write a run as one page, with claims that can be checked again")
    p.add_argument("run", help="folder of a search")
    p.add_argument("--out", help="an HTML file; RUN/report.html otherwise")
    p.add_argument("--download", action="store_true", help="let torchvision fetch the image set")

    p = verb("verify", verify, "check the claims of a report: reproduced, drifted or not checked")
    p.add_argument("report", help="an HTML file that `report` wrote")
    p.add_argument("--full", action="store_true", help="repeat long searches and trainings as well")
    p.add_argument("--download", action="store_true", help="let torchvision fetch the image set")

    text = "the exact answer of a small space: train all of it, time all of it, judge the result"
    acts = verbs.add_parser("truth", help=text, description=text).add_subparsers(required=True, metavar="ACT")
    p = verb("build", truth_build, "train every architecture; goes on where it stopped", acts)
    p.add_argument("--space", default="five_layer")
    p.add_argument("--data", default="glyphs-hard")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--workers", type=int, help="training processes; all cores by default")
    p.add_argument("--sample", type=int, metavar="N", help="train N random rows again and compare")
    p.add_argument("--out", default="data/truth/five_layer", help="folder of the truth table")
    p = verb("latency", truth_latency, "time every architecture end to end, as a latency table was timed", acts)
    p.add_argument("table", help="the latency table whose conditions are used: a file or a shipped name")
    p.add_argument("--seconds", type=float, default=0.3, help="of timing an architecture")
    p.add_argument("--rounds", type=int, default=30, help="blocks that its seconds are cut into")
    p.add_argument("--device", default="cpu", help="cpu or cuda: the one that the table was measured on")
    p.add_argument("--out", required=True, help="file of the latencies")
    p = verb("report", truth_show, "say whether a truth table is good enough to judge by", acts)
    p.add_argument("truth", nargs="?", default="five_layer", help="folder, or the name of a shipped one")

    text = "side-by-side comparisons, each in one run"
    acts = verbs.add_parser("bench", help=text, description=text).add_subparsers(required=True, metavar="ACT")
    p = verb("estimators", bench_estimators, "hold every gradient estimator against the exact gradient", acts)
    p.add_argument("--samples", type=int, default=400_000, help="draws of a row")
    p.add_argument("--temperatures", default="0.1,0.2,0.4,1,2")
    p.add_argument("--softenings", default="0,0.08")
    p.add_argument("--problems", help="names with semicolons between; all by default")
    p.add_argument("--truth", default="five_layer", help="the truth table: a folder, or the name of a shipped one")
    p.add_argument("--out", help="file of the results, JSON")

    p = verb("supernet", bench_supernet, "hold the ranking of shared weights against the truth", acts)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument(
        "--samples", default="one-hot,relaxed", help="what weights train on: also fair, distilled, relaxed*3"
    )
    p.add_argument("--statistics", default="running,re-estimated", help="of batch norm while judging")
    p.add_argument("--average", type=float, default=0.0, help="share of the steps, the last, whose mean is judged too")
    p.add_argument("--equal-cost", action="store_true", help="as many steps as cost what relaxed ones do")
    p.add_argument("--fast", action="store_true", help="the shortened recipe of a live demonstration")
    p.add_argument("--truth", default="five_layer", help="the truth table: a folder, or the name of a shipped one")
    p.add_argument("--out", help="file of the results, JSON")

    p = verb("step", bench_step, "a step of the search beside the same one written the obvious way", acts)
    p.add_argument("--spaces", default="five_layer,mobile-tiny", help="names with commas between")
    p.add_argument("--batch-sizes", default="64")
    text = "also the last space with at most N candidates a slot"
    p.add_argument("--candidates", type=int, nargs="*", default=[], metavar="N", help=text)
    p.add_argument("--device", default="cpu", help="cpu or cuda")
    p.add_argument("--threads", type=int, default=2, help="cores that a step may use")
    p.add_argument("--seconds", type=float, default=10.0, help="for each step timed")
    p.add_argument("--out", help="file of the results, JSON")

    p = verb("sweep", bench_sweep, "one sweep of latency weights beside a search for each, by the truth", acts)
    p.add_argument("--latency-weights", default="0,0.3,0.8,1.5,2.5,7,14,50", help="error fraction per millisecond")
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--fast", action="store_true", help="the shortened recipe of a live demonstration")
    p.add_argument("--latency", help="such as torch-b32; the course's default otherwise")
    p.add_argument("--truth", default="five_layer", help="the truth table: a folder, or the name of a shipped one")
    p.add_argument("--out", help="file of the results, JSON; a bench that was stopped goes on from it")

    p = verb("deploy", bench_deploy, "a run's network in all that can run it here, in every precision", acts)
    p.add_argument("run", metavar="RUN", help="folder of a search")
    p.add_argument("--device", default="cpu", help="cpu or cuda")
    p.add_argument("--batch-sizes", default="1,64")
    p.add_argument("--threads", type=int, default=2, help="cores that a network may use")
    p.add_argument("--seconds", type=float, default=0.5, help="for each thing timed")
    p.add_argument("--out", help="file of the results, JSON")

    p = verb("engines", bench_engines, "what TensorRT builds in each precision, and what it refuses", acts)
    p.add_argument("runs", nargs="*", metavar="RUN", help="folders of searches; a random network a space otherwise")
    p.add_argument("--flavour", default="tensorrt-rtx", help="tensorrt-rtx, which needs no GPU for it, or tensorrt")
    p.add_argument("--out", help="file of the results, JSON")

    p = verb("deadlines", bench_deadlines, "a hard deadline, the hinge and a sweep of weights on the truth", acts)
    p.add_argument("--deadlines", type=int, default=10, help="how many, at even quantiles of the latencies")
    p.add_argument("--seeds", type=int, default=50)
    p.add_argument("--latency", help="such as torch-b32; the course's default otherwise")
    p.add_argument("--truth", default="five_layer", help="the truth table: a folder, or the name of a shipped one")
    p.add_argument("--out", help="file of the results, JSON")

    p = verb("optimize", bench_optimize, "black-box search and its rivals on tables whose front is known", acts)
    p.add_argument("--seeds", type=int, default=50)
    p.add_argument(
        "--methods",
        default="model,policy,random,evolution,archive-mutation,local-search",
        help="also nsga2, tpe (Optuna)",
    )
    p.add_argument("--deadline-methods", help="those that are asked for a deadline as well, all by default")
    p.add_argument("--truth", default="five_layer", help="a truth table, or none for the made-up ones alone")
    p.add_argument("--workers", type=int, help="processes, one a core by default")
    p.add_argument("--out", help="file of the results, JSON")

    p = verb("notebooks", notebooks, "for authors: build the editions, check them, record their static figures")
    p.add_argument("act", choices=("build", "check", "figures"))
    p.add_argument("numbers", nargs="*", help="notebooks whose figures to record; all by default")
    return parser


def _add_search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--space", default="five_layer")
    parser.add_argument(
        "--data", default="glyphs", help="glyphs, digits, cifar10, cifar100, fashion-mnist or folder:PATH"
    )
    parser.add_argument("--table", help="latency table: a file, a shipped name, or `measure` for this machine, now")
    parser.add_argument("--seed", type=int, default=0)
    recipe = parser.add_mutually_exclusive_group()
    recipe.add_argument("--fast", action="store_true", help="shortened: seconds, and a worse answer")
    recipe.add_argument("--published", choices=("cifar", "imagenet"), help="the settings of the published runs")
    parser.add_argument("--download", action="store_true", help="let torchvision fetch the image set")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings", help="any setting of SearchConfig"
    )


def _search_config(arguments: argparse.Namespace, **own: Any):
    """The recipe of the space or the published one, then the verb's own arguments, then `--set`."""
    from labkit.search_config import SearchConfig

    changes = own | dict(_setting(text) for text in arguments.settings)
    if arguments.published:
        return SearchConfig.published(arguments.published, **changes)
    return SearchConfig.suited(arguments.space, fast=arguments.fast, **changes)


def _setting(text: str) -> tuple[str, Any]:
    """A field of SearchConfig and its value, of the field's own type; `none` where it may have none."""
    from typing import get_args, get_type_hints

    from labkit.search_config import SearchConfig

    name, equals, value = text.partition("=")
    hints = get_type_hints(SearchConfig)
    if not equals or name not in hints:
        raise InputError(f"--set takes NAME=VALUE of {', '.join(hints)}; got {text!r}")
    kinds = get_args(hints[name]) or (hints[name],)
    if value == "none" and type(None) in kinds:
        return name, None
    try:
        return name, kinds[0](value)
    except ValueError:
        raise InputError(f"{name} is of type {kinds[0].__name__}; got {value!r}") from None


def _space_data_table(arguments: argparse.Namespace):
    """The three things that every search starts from. What can be refused at once is refused first."""
    from labkit import data, spaces, storage
    from labkit.latency import LatencyTable, shipped_tables

    spaces.by_name(arguments.space)
    chosen = None if arguments.table in (None, "measure") else LatencyTable.load(arguments.table)
    images = data.by_name(arguments.data, seed=arguments.seed, download=arguments.download, small=arguments.fast)
    space = spaces.by_name(arguments.space, len(images.classes))
    if chosen is None and arguments.table is None:  # a recorded table: the same seed gives the same architecture
        name = storage.of_a_device(shipped_tables(), f"{space.name}-torch-b1")
        recorded = name and LatencyTable.load(name)
        chosen = recorded if recorded and recorded.space_digest == space.digest else None
    if chosen is None:
        print(f"measuring a latency table of {space.name} on this machine", file=sys.stderr)
        chosen = LatencyTable.measure(space)
    chosen.check(space)
    return space, images, chosen


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(f"a parameter is NAME=VALUE; got {text!r}")
    return name, value


def _command() -> str:
    """What was typed, for a file to say what made it."""
    return "python -m labkit " + shlex.join(sys.argv[1:])


def _device(arguments: argparse.Namespace) -> str:
    """The device asked for, when torch can use it here."""
    import torch

    if arguments.device not in ("cpu", "cuda"):
        raise InputError(f"a device is cpu or cuda; got {arguments.device!r}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda needs an NVIDIA GPU that torch can use: see python -m labkit doctor")
    return arguments.device


def _check_timing(arguments: argparse.Namespace) -> None:
    if arguments.rounds < 2 or arguments.seconds <= 0:
        raise InputError(
            f"timing takes at least 2 rounds and some seconds; got {arguments.rounds}, {arguments.seconds}"
        )


def _earlier(out: str | None, value: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier run left in `out`, to go on from; refused when it was asked something else."""
    from labkit import storage

    if not out:
        return None
    storage.writable_folder(Path(out).parent)
    if not Path(out).exists():
        return None
    old = storage.read_json(out, value["kind"], value["schema"])
    if old.get("asked") != value["asked"]:
        raise InputError(f"{out} is of another bench, that asked something else: name another file, or repeat that one")
    return old


def _save_with_rows(path: str, value: dict[str, Any]) -> None:
    from labkit import storage

    storage.write_json(path, {key: x for key, x in value.items() if key != "rows"}, rows=value["rows"])


def _made(device: str = "cpu") -> dict[str, Any]:
    """What made a file: the command, the machine, the versions and the day."""
    from labkit import runs
    from labkit.cards import device_name, today

    return {"command": _command(), "device": device_name(device), "versions": runs.versions(), "date": today()}


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} is numbers with commas between, such as 0,0.1,0.4; got {text!r}") from None


def _on_terminal() -> bool:
    return sys.stderr.isatty()
