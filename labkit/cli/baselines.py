"""`baselines`: was the search worth it, against random networks and plain controls of the same milliseconds?"""

import argparse
import sys
from dataclasses import asdict

from labkit.cli.arguments import Outcome, add_verb, check_seconds, usable_device, words
from labkit.cli.records import provenance

CONTROLS = "resnet,mobilenetv2"


def add(verbs) -> None:
    text = "train a run's choice, random networks and plain controls of its milliseconds alike, and time them in turn"
    resumes = lambda arguments: f"the same command goes on from what is finished in {arguments.run}"
    p = add_verb(verbs, "baselines", baselines, text, stopped=resumes)
    p.add_argument("run", help="folder of a search")
    p.add_argument("--seeds", type=int, default=3, help="trainings of each network, 3 at least; each seed is a pair")
    p.add_argument("--networks", type=int, default=3, help="random networks of each seed")
    p.add_argument("--controls", default=CONTROLS, help=f"plain networks that are sized by the clock; {CONTROLS}")
    text = "also as many random networks, each seed, as can be trained in the seconds of the search"
    p.add_argument("--equal-cost", action="store_true", help=text)
    p.add_argument("--epochs", type=int, help="of each training; by default as `export` trained the choice, else 6")
    p.add_argument("--runtime", help="in which they are timed; by default that of the run's latency table")
    p.add_argument("--seconds", type=float, default=0.2, help="of timing each network")
    p.add_argument("--device", default="cpu", help="cpu or cuda: where they are trained")
    p.add_argument("--workers", type=int, help="processes that train, one network each; one a core by default")
    p.add_argument("--download", action="store_true", help="let torchvision fetch the image set")


def baselines(arguments: argparse.Namespace) -> Outcome:
    from labkit import runs
    from labkit.networks import TrainConfig
    from labkit.runs import baseline

    check_seconds(arguments.seconds)
    request = runs.BaselinesRequest(
        seeds=arguments.seeds,
        networks=arguments.networks,
        controls=tuple(words(arguments.controls)),
        equal_cost=arguments.equal_cost,
        training=None if arguments.epochs is None else TrainConfig(epochs=arguments.epochs),
        runtime=arguments.runtime,
        device=usable_device(arguments),
        seconds=arguments.seconds,
        workers=arguments.workers,
    )
    told = lambda row: print(baseline.line(row), file=sys.stderr, flush=True)
    run = runs.load(arguments.run)
    found = runs.baselines(run, request, made=provenance(request.device), download=arguments.download, on_row=told)
    value = {
        "schema": 1,
        "run": str(run.folder),
        "verdict": found.verdict,
        "comparisons": [
            {"baseline": f"{one.baseline} {one.target}", "answer": one.answer, "gain": asdict(one.gain)}
            for one in found.comparisons
        ],
        "lacking": list(found.lacking),
        "rows": [asdict(row) for row in found.rows],
    }
    saved = f"saved in {run.folder}; next: python -m labkit report {run.folder}"
    return value, f"{baseline.to_text(found)}\n{saved}", True
