"""`bench`: side-by-side comparisons, each in one run."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from labkit.cli.arguments import (
    Outcome,
    add_acts,
    add_verb,
    batch_sizes,
    check_seconds,
    goes_on,
    numbers,
    on_terminal,
    usable_device,
    words,
)
from labkit.cli.records import earlier, provenance, save_with_rows
from labkit.system.errors import InputError, unknown


def add(verbs) -> None:
    acts = add_acts(verbs, "bench", "side-by-side comparisons, each in one run")
    for add_bench in (
        _add_estimators,
        _add_supernet,
        _add_step,
        _add_sweep,
        _add_deploy,
        _add_engines,
        _add_deadlines,
        _add_optimize,
    ):
        add_bench(acts)


def _add_estimators(acts) -> None:
    text = "hold every gradient estimator against the exact gradient"
    p = add_verb(acts, "estimators", estimators, text, stopped=goes_on)
    p.add_argument("--samples", type=int, default=400_000, help="draws of a row")
    p.add_argument("--temperatures", default="0.1,0.2,0.4,1,2")
    p.add_argument("--softenings", default="0,0.08")
    p.add_argument("--problems", help="names with semicolons between; all by default")
    p.add_argument(
        "--tabular", default="five_layer", help="the tabular benchmark: a folder, or the name of a shipped one"
    )
    p.add_argument("--out", help="file of the results, JSON; a bench that was stopped goes on from it")


def estimators(arguments: argparse.Namespace) -> Outcome:
    from tqdm.auto import tqdm

    from labkit.benches import estimators as estimator_bench
    from labkit.benches.tabular import table as tabular

    if arguments.samples < 2 * estimator_bench.DRAWS:
        raise InputError(f"the bench takes at least {2 * estimator_bench.DRAWS} samples; got {arguments.samples}")
    temperatures = numbers(arguments.temperatures, "--temperatures")
    softenings = numbers(arguments.softenings, "--softenings")
    if min(temperatures) <= 0 or min(softenings) < 0:
        raise InputError(
            f"temperatures are above 0 and softenings 0 or more; got {arguments.temperatures}, {arguments.softenings}"
        )
    known = tabular.load(arguments.tabular)
    problems = (*estimator_bench.toy_problems(), *estimator_bench.table_problems(known))
    every = {problem.name: problem for problem in problems}
    chosen = [name.strip() for name in arguments.problems.split(";")] if arguments.problems else list(every)
    for name in chosen:
        if name not in every:
            raise unknown("problems are", name, every)
    over = [every[name] for name in chosen]
    grid = {"temperatures": temperatures, "softenings": softenings, "samples": arguments.samples}
    asked = {name: list(x) if isinstance(x, tuple) else x for name, x in grid.items()}
    asked |= {"problems": chosen, "tabular": arguments.tabular}
    value = {"kind": estimator_bench.KIND, "schema": estimator_bench.SCHEMA, "made": provenance(), "asked": asked}
    before = earlier(arguments.out, value)
    done = estimator_bench.from_json(before) if before else ()
    kept = list(done)

    def keep(row: estimator_bench.Row) -> None:
        kept.append(row)
        bar.update()
        if arguments.out:
            save_with_rows(arguments.out, value | {"rows": estimator_bench.to_json(kept)})

    total = estimator_bench.size_of(over, temperatures, softenings)
    with tqdm(total=total, initial=len(done), disable=not on_terminal(), desc="bench") as bar:
        rows = estimator_bench.bench(over, **grid, done=done, on_row=keep)
    if not arguments.problems:
        rows += (estimator_bench.skipped_row(10 * arguments.samples),)
    passed = estimator_bench.passed(rows)
    value |= {
        "passed": passed,
        "milliseconds_per_10000_samples": round(estimator_bench.milliseconds_per_estimate(), 2),
        "rows": estimator_bench.to_json(rows),
    }
    if arguments.out:
        save_with_rows(arguments.out, value)
    return value, estimator_bench.to_text(rows), passed


def _add_supernet(acts) -> None:
    text = "hold the ranking of shared weights against the tabular benchmark"
    p = add_verb(acts, "supernet", supernet, text, stopped=goes_on)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument(
        "--samples", default="one-hot,relaxed", help="what weights train on: also fair, distilled, relaxed*3"
    )
    p.add_argument("--statistics", default="running,re-estimated", help="of batch norm while judging")
    p.add_argument("--average", type=float, default=0.0, help="share of the steps, the last, whose mean is judged too")
    p.add_argument("--equal-cost", action="store_true", help="as many steps as cost what relaxed ones do")
    p.add_argument("--fast", action="store_true", help="the shortened recipe of a live demonstration")
    p.add_argument(
        "--tabular", default="five_layer", help="the tabular benchmark: a folder, or the name of a shipped one"
    )
    p.add_argument("--out", help="file of the results, JSON")


def supernet(arguments: argparse.Namespace) -> Outcome:
    from labkit import data
    from labkit.benches import supernet as supernet_bench
    from labkit.benches.tabular import table as tabular
    from labkit.oneshot.config import SearchConfig

    known = tabular.load(arguments.tabular)
    images = data.by_name(known.recipe["data"]["name"])
    config = SearchConfig.fast() if arguments.fast else SearchConfig()
    config = replace(config, weight_average=arguments.average)
    how = {name: words(getattr(arguments, name)) for name in ("samples", "statistics")}
    how["equal_cost"] = arguments.equal_cost
    asked = {"config": asdict(config), "statistics": how["statistics"], "equal_cost": arguments.equal_cost}
    value = {"kind": supernet_bench.KIND, "schema": supernet_bench.SCHEMA, "asked": asked}
    value["made"] = provenance() | {"data": known.recipe["data"]}
    before, scans = earlier(arguments.out, value), []
    done = supernet_bench.from_json(before) if before else ()

    def keep(scan: supernet_bench.Scan) -> None:
        print(supernet_bench.to_text(known, [scan]).splitlines()[-1], file=sys.stderr, flush=True)
        scans.append(scan)
        if arguments.out:
            save_with_rows(arguments.out, value | {"rows": supernet_bench.to_json((*done, *scans))})

    found = supernet_bench.measure(known, images, config, seeds=arguments.seeds, done=done, on_scan=keep, **how)
    value["rows"] = supernet_bench.to_json(found)
    if arguments.out:
        save_with_rows(arguments.out, value)
    return value | {"passed": True}, supernet_bench.to_text(known, found), True


def _add_step(acts) -> None:
    p = add_verb(acts, "step", step, "a step of the search beside the same one written the obvious way")
    p.add_argument("--spaces", default="five_layer,mobile-tiny", help="names with commas between")
    p.add_argument("--batch-sizes", default="64")
    text = "also the last space with at most N candidates a slot"
    p.add_argument("--candidates", type=int, nargs="*", default=[], metavar="N", help=text)
    text = "also the last space with its first N layers"
    p.add_argument("--layers", type=int, nargs="*", default=[], metavar="N", help=text)
    p.add_argument("--device", default="cpu", help="cpu or cuda")
    p.add_argument("--threads", type=int, default=2, help="cores that a step may use")
    p.add_argument("--seconds", type=float, default=10.0, help="for each step timed")
    p.add_argument("--out", help="file of the results, JSON")


def step(arguments: argparse.Namespace) -> Outcome:
    from labkit import data, spaces
    from labkit.benches import step as step_bench
    from labkit.latency import table as latency
    from labkit.system import storage
    from labkit.system.device import threads

    chosen = [spaces.by_name(name) for name in arguments.spaces.split(",")]
    cuts = {"candidates": arguments.candidates, "layers": arguments.layers}
    sizes = batch_sizes(arguments)
    if arguments.threads < 1:
        raise InputError(f"a step runs on at least one thread; got {arguments.threads}")
    check_seconds(arguments.seconds)
    device = usable_device(arguments)
    if arguments.out:
        storage.writable_file(arguments.out, step_bench.KIND)
    images = data.glyphs(max(1_000, 2 * max(sizes)), max(1_000, 2 * max(sizes)), 10, seed=0)

    def quick(space: spaces.SearchSpace) -> latency.LatencyTable:
        with warnings.catch_warnings():  # of a noisy machine: any table will do here
            warnings.simplefilter("ignore")
            return latency.LatencyTable.measure(space, seconds=0.002)

    told = lambda row: print(step_bench.to_text([row]).splitlines()[-1], file=sys.stderr, flush=True)
    with threads(arguments.threads):
        rows = step_bench.measure(
            chosen, images, quick, batch_sizes=sizes, **cuts, seconds=arguments.seconds, device=device, on_row=told
        )
    value = {"kind": step_bench.KIND, "schema": step_bench.SCHEMA, "made": provenance(device)}
    value["growth"] = step_bench.growth_to_json(step_bench.growth(rows))
    value["rows"] = step_bench.to_json(rows)
    if arguments.out:
        save_with_rows(arguments.out, value)
    return value | {"passed": True}, step_bench.to_text(rows), True


def _add_sweep(acts) -> None:
    text = "one sweep of latency weights beside a search for each, by the tabular benchmark"
    p = add_verb(acts, "sweep", sweep, text, stopped=goes_on)
    p.add_argument("--latency-weights", default="0,0.3,0.8,1.5,2.5,7,14,50", help="error fraction per millisecond")
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--fast", action="store_true", help="the shortened recipe of a live demonstration")
    p.add_argument("--latency", help="such as torch-b32; the course's default otherwise")
    p.add_argument(
        "--tabular", default="five_layer", help="the tabular benchmark: a folder, or the name of a shipped one"
    )
    p.add_argument("--out", help="file of the results, JSON; a bench that was stopped goes on from it")


def sweep(arguments: argparse.Namespace) -> Outcome:
    from labkit import data
    from labkit.benches import sweep as sweep_bench
    from labkit.benches.tabular import table as tabular
    from labkit.benches.tabular import timing
    from labkit.oneshot.config import SearchConfig

    known = tabular.load(arguments.tabular)
    latency = known.latency(arguments.latency).name
    table = timing.table_of(known.space, known.latency(latency))
    images = data.by_name(known.recipe["data"]["name"])
    config = SearchConfig.fast() if arguments.fast else SearchConfig()
    weights = numbers(arguments.latency_weights, "--latency-weights")
    asked = {"config": asdict(config), "latency_weights": list(weights), "latency": latency, "data": images.digest}
    value = {"kind": sweep_bench.KIND, "schema": sweep_bench.SCHEMA, "made": provenance(), "asked": asked}
    before, out = earlier(arguments.out, value), arguments.out
    done = sweep_bench.from_json(before) if before else []

    def save(rows: list) -> None:
        print(sweep_bench.to_text(known, rows[-1:], latency).splitlines()[-1], file=sys.stderr, flush=True)
        if out:
            save_with_rows(out, value | {"rows": sweep_bench.to_json(rows)})

    rows = sweep_bench.measure(
        known, images, table, config, latency_weights=weights, seeds=arguments.seeds, done=done, on_row=save
    )
    text = sweep_bench.to_text(known, rows, latency)
    return value | {"rows": sweep_bench.to_json(rows), "passed": True}, text, True


def _add_deploy(acts) -> None:
    text = "a run's network, trained as by `export`, in all that can run it here, in every precision"
    p = add_verb(acts, "deploy", deploy, text)
    p.add_argument("run", metavar="RUN", help="folder of a search")
    p.add_argument("--epochs", type=int, help="of its training; by default what `export` trained, else 6")
    p.add_argument("--device", default="cpu", help="cpu or cuda")
    p.add_argument("--batch-sizes", default="1,64")
    p.add_argument("--threads", type=int, default=2, help="cores that a network may use")
    p.add_argument("--seconds", type=float, default=0.5, help="for each thing timed")
    p.add_argument("--out", help="file of the results, JSON")


def deploy(arguments: argparse.Namespace) -> Outcome:
    from labkit.benches import deploy as deploy_bench
    from labkit.networks.training import TrainConfig
    from labkit.runs import run as runs
    from labkit.system import storage
    from labkit.system.device import threads

    sizes = batch_sizes(arguments)
    if arguments.threads < 1:
        raise InputError(f"a network runs on at least one thread; got {arguments.threads}")
    if arguments.out:
        storage.writable_file(arguments.out, deploy_bench.KIND)
    check_seconds(arguments.seconds)
    device, loaded = usable_device(arguments), runs.load(arguments.run)
    if arguments.epochs is None:
        config = runs.trained_by(loaded) or TrainConfig(seed=loaded.result.config.seed)
    else:
        config = TrainConfig(epochs=arguments.epochs, seed=loaded.result.config.seed)
    images = loaded.image_set()
    # Trained, for what eight bits cost in accuracy is another thing on shared weights.
    network, accuracy = runs.train_chosen(loaded, images, config, device=device, progress=on_terminal())
    value = {
        "kind": deploy_bench.KIND,
        "schema": deploy_bench.SCHEMA,
        "made": provenance(device) | {"data": asdict(loaded.data), "test_accuracy": accuracy},
        "rows": [],
    }

    def save(race: deploy_bench.Race) -> None:
        print(deploy_bench.to_text([race]), file=sys.stderr, flush=True)
        value["rows"] += deploy_bench.to_json([race])
        if arguments.out:
            save_with_rows(arguments.out, value)

    with threads(arguments.threads):
        races = deploy_bench.race(
            network, images, batch_sizes=sizes, device=device, seconds=arguments.seconds, on_race=save
        )
    same = all(row.computes_the_same for one in races for row in one.rows if row.available)
    return value | {"passed": same}, f"saved in {arguments.out}" if arguments.out else "", same


def _add_engines(acts) -> None:
    p = add_verb(acts, "engines", engines, "what TensorRT builds in each precision, and what it refuses")
    p.add_argument("runs", nargs="*", metavar="RUN", help="folders of searches; a random network a space otherwise")
    p.add_argument("--flavour", default="tensorrt-rtx", help="tensorrt-rtx, which needs no GPU for it, or tensorrt")
    p.add_argument("--out", help="file of the results, JSON")


def engines(arguments: argparse.Namespace) -> Outcome:
    import torch

    from labkit import data, spaces
    from labkit.benches import engines as engine_bench
    from labkit.networks import derive
    from labkit.runs import run as runs
    from labkit.runtimes import tensorrt_engines
    from labkit.system import storage

    tensorrt_engines.module(arguments.flavour)
    if arguments.out:
        storage.writable_file(arguments.out, engine_bench.KIND)
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
        "made": provenance(),
        "rows": engine_bench.to_json(rows),
    }
    if arguments.out:
        save_with_rows(arguments.out, value)
    return value, "\n".join(map(str, rows)), passed


def _add_deadlines(acts) -> None:
    p = add_verb(
        acts, "deadlines", deadlines, "a hard deadline, the hinge and a sweep of weights on the tabular benchmark"
    )
    p.add_argument("--deadlines", type=int, default=10, help="how many, at even quantiles of the latencies")
    p.add_argument("--seeds", type=int, default=50)
    p.add_argument("--latency", help="such as torch-b32; the course's default otherwise")
    p.add_argument(
        "--tabular", default="five_layer", help="the tabular benchmark: a folder, or the name of a shipped one"
    )
    p.add_argument("--out", help="file of the results, JSON")


def deadlines(arguments: argparse.Namespace) -> Outcome:
    from tqdm.auto import tqdm

    from labkit.benches import deadlines as deadline_bench
    from labkit.benches.tabular import table as tabular
    from labkit.system import storage

    if arguments.deadlines < 1 or arguments.seeds < 1:
        raise InputError(f"at least one deadline and one seed; got {arguments.deadlines} and {arguments.seeds}")
    known = tabular.load(arguments.tabular)
    if arguments.out:
        storage.writable_file(arguments.out, deadline_bench.KIND)
    at = deadline_bench.quantiles(arguments.deadlines)
    with tqdm(total=len(at) * len(deadline_bench.METHODS), disable=not on_terminal(), desc="bench") as bar:
        rows = deadline_bench.measure(
            known, at=at, seeds=arguments.seeds, latency=arguments.latency, on_row=lambda row: bar.update()
        )
    over = deadline_bench.summaries(known, rows, arguments.latency)
    value = {
        "kind": deadline_bench.KIND,
        "schema": deadline_bench.SCHEMA,
        "passed": deadline_bench.passed(over),
        "made": provenance(),
        "latencies": str(known.latency(arguments.latency).card),
        "summary": [asdict(summary) for summary in over],
        "rows": deadline_bench.to_json(rows),
    }
    if arguments.out:
        save_with_rows(arguments.out, value)
    return value, deadline_bench.to_text(rows, over), value["passed"]


def _add_optimize(acts) -> None:
    text = "black-box search and its baselines on tables whose front is known"
    p = add_verb(acts, "optimize", optimize, text, stopped=goes_on)
    p.add_argument("--seeds", type=int, default=50)
    p.add_argument(
        "--methods",
        default="model,policy,random,evolution,archive-mutation,local-search",
        help="also nsga2, tpe (Optuna)",
    )
    p.add_argument("--deadline-methods", help="those that are asked for a deadline as well, all by default")
    p.add_argument("--tabular", default="five_layer", help="a tabular benchmark, or none for the made-up ones alone")
    p.add_argument("--workers", type=int, help="processes, one a core by default")
    p.add_argument("--out", help="file of the results, JSON")


def optimize(arguments: argparse.Namespace) -> Outcome:
    from tqdm.auto import tqdm

    from labkit.benches import optimize as optimize_bench
    from labkit.benches.tabular import table as tabular

    methods = words(arguments.methods)
    hurried = words(arguments.deadline_methods) if arguments.deadline_methods else methods
    optimize_bench.check([*methods, *hurried], arguments.seeds)
    known = None if arguments.tabular == "none" else tabular.load(arguments.tabular)
    tables = (*(optimize_bench.of_tabular(known) if known else ()), *optimize_bench.made_up())
    areas = {table.name: round(table.hypervolume, 6) for table in tables}  # tells another table of the same name
    asked = {"seeds": arguments.seeds, "calls": list(optimize_bench.CALLS), "tables": areas}
    value = {"kind": optimize_bench.KIND, "schema": optimize_bench.SCHEMA, "made": provenance(), "asked": asked}
    before = earlier(arguments.out, value, growing="tables")
    rows, within = map(list, optimize_bench.from_json(before)) if before else ([], [])

    def keep(row: optimize_bench.Row | optimize_bench.DeadlineRow) -> None:
        (rows if isinstance(row, optimize_bench.Row) else within).append(row)
        bar.update()
        if arguments.out:
            save_with_rows(arguments.out, value | _optimize_json(rows, within))

    alike = {"seeds": arguments.seeds, "on_row": keep, "workers": arguments.workers}
    total = len(tables) * (len(methods) * len(optimize_bench.CALLS) + len(hurried))
    with tqdm(total=total, initial=len(rows) + len(within), disable=not on_terminal(), desc="bench") as bar:
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
        save_with_rows(arguments.out, value)
    return value, optimize_bench.to_text(found, in_time, verdicts), passed


def _optimize_json(rows: Sequence[Any], within: Sequence[Any]) -> dict[str, Any]:
    from labkit.benches import optimize as optimize_bench

    return {"rows": optimize_bench.to_json(rows), "within": optimize_bench.deadlines_to_json(within)}
