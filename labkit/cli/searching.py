"""`search`, `study` and `compare`: one search, a sweep of latency weights, and sweeps compared with baselines."""

import argparse
import sys
from dataclasses import asdict

from labkit.cli.arguments import (
    Outcome,
    add_search_arguments,
    add_verb,
    numbers,
    on_terminal,
    resumes,
    search_config,
    space_data_table,
    usable_device,
    words,
)
from labkit.cli.records import provenance, typed

BASELINES = "random-selected,random,evolution,local-search"


def add(verbs) -> None:
    """Add the verbs `search`, `study` and `compare`.

    Args:
        verbs: the subparsers to add them to.
    """
    p = add_verb(verbs, "search", search, "search an architecture and save the run", stopped=resumes)
    add_search_arguments(p)
    p.add_argument("--estimator", default="unas")
    p.add_argument("--task-cost", default="cross-entropy", help="of what is drawn: cross-entropy, or its error itself")
    text = "error fraction per millisecond; by default 0 within a target or a deadline, and else by the table's range"
    p.add_argument("--latency-weight", type=float, help=text)
    text = "as accurate as possible within it; with a weight, only milliseconds beyond it cost"
    p.add_argument("--target-ms", type=float, help=text)
    p.add_argument("--deadline-ms", type=float, help="with one, what is chosen takes no longer")
    p.add_argument("--random", action="store_true", help="random search at the cost of a UNAS search")
    p.add_argument(
        "--select", action="store_true", help="then train the best of the most probable themselves, and choose by that"
    )
    p.add_argument("--device", default="cpu", help="cpu or cuda: where weights are trained")
    p.add_argument("--out", required=True, help="folder of the run")

    text = "search once a latency weight, with random search at the same cost, and save one JSON file"
    p = add_verb(verbs, "study", study, text)
    _add_sweep_arguments(p, "study")
    p.add_argument("--picture", help="file of its frontier, PNG")

    text = "compare sweeps of several seeds with baselines at equal cost, by the cost of the networks that were chosen"
    p = add_verb(verbs, "compare", compare, text, stopped=resumes)
    _add_sweep_arguments(p, "comparison")
    p.add_argument("--seeds", type=int, default=10, help="sweeps, each with its baselines")
    p.add_argument("--baselines", default=BASELINES, help="also archive-mutation, model, nsga2, tpe")
    p.add_argument("--estimators", default="", help="also sweeps that follow these gradient estimators, at equal cost")
    text = "train what was chosen even if a tabular benchmark knows it"
    p.add_argument("--train", action="store_true", help=text)
    p.add_argument("--picture", help="file of the costs, PNG")


def _add_sweep_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    add_search_arguments(parser)
    text = "error fraction per millisecond, with commas between; six by the table's range by default"
    parser.add_argument("--latency-weights", help=text)
    parser.add_argument(
        "--task-cost", default="cross-entropy", help="of what is drawn: cross-entropy, or its error itself"
    )
    parser.add_argument("--out", required=True, help=f"file of the {what}")


def _weights(arguments: argparse.Namespace) -> tuple[float, ...]:
    """What was asked for as `--latency-weights`; () by default."""
    from labkit.oneshot.config import SearchConfig

    if arguments.latency_weights is None:
        return ()
    weights = numbers(arguments.latency_weights, "--latency-weights")
    for weight in weights:
        SearchConfig(latency_weight=weight)  # refuses what is none
    return weights


def search(arguments: argparse.Namespace) -> Outcome:
    """Search a space and save the run.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and True.
    """
    from labkit import runs
    from labkit.oneshot import SelectionConfig
    from labkit.pareto import ERROR_SOURCES

    config = search_config(
        arguments,
        estimator=arguments.estimator,
        task_cost=arguments.task_cost,
        latency_weight=arguments.latency_weight,
        target_ms=arguments.target_ms,
        deadline_ms=arguments.deadline_ms,
        seed=arguments.seed,
    )
    device = usable_device(arguments)
    space, data, table = space_data_table(arguments)
    run = runs.search(
        arguments.out,
        space,
        data,
        table,
        config,
        selection=SelectionConfig.preset(space.name, fast=arguments.fast) if arguments.select else None,
        random=arguments.random,
        device=device,
        progress=on_terminal(),
    )
    result, point = run.result, run.result.point
    value = {
        "schema": 1,
        "run": str(run.folder),
        "architecture": list(point.architecture.ops),
        "error": point.error,
        "error_from": point.error_from,
        "table_ms": point.latency_ms,
        "table_card": table.card.to_json(),
        "passes": result.passes,
        "seconds": round(result.seconds, 1),
    }
    text = (
        f"{point.architecture}\n{100 * point.error:.1f} % error on validation images "
        f"{ERROR_SOURCES[point.error_from]}, "
        f"{point.latency_ms:.3f} ms by the table ({table.card})\n"
        f"saved in {run.folder}; next: python -m labkit export {run.folder}"
    )
    return value, text, True


def study(arguments: argparse.Namespace) -> Outcome:
    """Sweep latency weights, and compare with random search.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and True.
    """
    from labkit.benches import study as studies
    from labkit.networks import Supernet
    from labkit.oneshot.config import default_weights
    from labkit.system import storage

    weights = _weights(arguments)
    config = search_config(arguments, task_cost=arguments.task_cost, seed=arguments.seed)
    storage.writable_file(arguments.out, "study")
    if arguments.picture:
        storage.writable_file(arguments.picture)
    space, data, table = space_data_table(arguments)
    weights = weights or default_weights(table.range_ms())
    supernet = Supernet(space, arguments.seed)
    made = studies.study(supernet, data, table, weights, config, command=typed(), progress=on_terminal())
    studies.save_study(made, arguments.out)
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


def compare(arguments: argparse.Namespace) -> Outcome:
    """Compare the search with its baselines over several seeds.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and whether the thresholds hold.
    """
    from labkit.benches import comparison
    from labkit.benches.tabular import table as tabular
    from labkit.networks.training import RECIPE
    from labkit.oneshot.config import SelectionConfig, default_weights
    from labkit.system import storage

    weights = _weights(arguments)
    baselines, estimators = words(arguments.baselines), words(arguments.estimators)
    storage.writable_file(arguments.out)
    if arguments.picture:
        storage.writable_file(arguments.picture)
    space, data, table = space_data_table(arguments)
    weights = weights or default_weights(table.range_ms())
    known = None
    if not arguments.train and (storage.DATA / "tabular" / space.name).exists():
        known = tabular.load(space.name)
        if known.recipe["data"]["digest"] != data.digest or known.space.digest != space.digest:
            known = None
    latency = None if known is None else known.latency_like(table.card).name
    told = lambda row: print(f"seed {row.seed}: {row.method}, {row.seconds:.0f} s", file=sys.stderr, flush=True)
    found = comparison.compare(
        space, data, table, weights, arguments.out,
        config=search_config(arguments, task_cost=arguments.task_cost),
        selection=SelectionConfig.preset(space.name, fast=arguments.fast),
        training=RECIPE, seeds=arguments.seeds, baselines=baselines, estimators=estimators, tabular=known,
        made=provenance(), on_row=told,
    )  # fmt: skip
    if arguments.picture:
        from labkit import plots

        figure = plots.comparison(*comparison.drawn(found, known, latency))
        alt = "What each method's choices cost, a dot a seed, at each latency weight."
        storage.write_atomically(arguments.picture, lambda file: file.write_bytes(plots.picture(figure, alt).png))
    value = {
        "schema": 1,
        "comparison": str(arguments.out),
        "rows": [asdict(row) for row in found.rows],
        "comparisons": [asdict(verdict) for verdict in comparison.verdicts(found, known, latency)],
        "verdicts": [
            {"claim": sentence, "holds": holds}
            for sentence, holds in (comparison.regret_thresholds(found, known, latency) if known is not None else ())
        ],
    }
    return value, comparison.to_text(found, known, latency), True
