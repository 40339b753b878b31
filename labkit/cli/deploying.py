"""`export`, `report` and `verify`: a run's network leaves PyTorch, and what is said of it can be checked again."""

import argparse
import sys
from dataclasses import asdict, replace

from labkit.cli.arguments import Outcome, add_verb, on_terminal, usable_device, words


def add(verbs) -> None:
    """Add the verbs `export`, `report` and `verify`.

    Args:
        verbs: the subparsers to add them to.
    """
    text = "train a run's choice from scratch, export it to ONNX, check and time it"
    once = lambda arguments: f"the same command starts over, but trains nothing that {arguments.run} has trained"
    p = add_verb(verbs, "export", export, text, stopped=once)
    p.add_argument("run", help="folder of a search")
    text = (
        "what to time; beside a compiled runtime always eager PyTorch in both layouts, and beside these torch-compile "
        "only if it is named, for it takes half a minute"
    )
    p.add_argument("--runtimes", default="torch,torch-channels-last,onnxruntime,tensorrt", help=text)
    p.add_argument("--precisions", default="fp32", help="such as fp32,fp16,int8: each runtime in each")
    p.add_argument("--batch-size", type=int, help="images at a time: 1 without it, and for --verify the table's")
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--device", default="cpu", help="cpu or cuda: where it is trained and timed")
    p.add_argument("--engine", help="build TensorRT engines too: tensorrt, or tensorrt-rtx, which needs no GPU for it")
    text = "time architectures along the frontier in RUNTIME (the usual best here), beside what the table believed"
    p.add_argument("--verify", nargs="?", const="auto", metavar="RUNTIME", help=text)
    p.add_argument("--architectures", type=int, default=20, help="so many of them")
    p.add_argument("--download", action="store_true", help="let torchvision fetch the image set")

    p = add_verb(verbs, "report", report, "write a run as one page, with claims that can be checked again")
    p.add_argument("run", help="folder of a search")
    p.add_argument("--out", help="an HTML file; RUN/report.html otherwise")
    p.add_argument("--download", action="store_true", help="let torchvision fetch the image set")

    p = add_verb(verbs, "verify", verify, "check the claims of a report: reproduced, drifted or not checked")
    p.add_argument("report", help="an HTML file that `report` wrote")
    p.add_argument("--full", action="store_true", help="repeat long searches and trainings as well")
    p.add_argument("--download", action="store_true", help="let torchvision fetch the image set")


def export(arguments: argparse.Namespace) -> Outcome:
    """Export a run, and close the loop if requested.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and whether every runtime computes the same.
    """
    from labkit import runs
    from labkit.deploy import closed_loop
    from labkit.networks import TrainConfig

    request = runs.ExportRequest(
        runtimes=tuple(words(arguments.runtimes)),
        precisions=tuple(words(arguments.precisions)),
        batch_size=arguments.batch_size,
        device=usable_device(arguments),
        engine=arguments.engine,
        validate_in=arguments.verify,
        architectures=arguments.architectures,
    )
    run = runs.load(arguments.run)
    request = replace(request, training=TrainConfig(epochs=arguments.epochs, seed=run.result.config.seed))
    data = run.image_set(download=arguments.download)
    exported = runs.export(run, request, data=data, progress=on_terminal())
    value, text = exported.to_json(), str(exported)
    value["engines"] = [asdict(engine) for engine in exported.engines]
    if request.validate_in is not None:
        loop = runs.close_the_loop(run, request, data=data)
        value["closed_loop"] = {"kind": "closed loop", "schema": 1, **loop.to_json()}
        text += f"\n\n{closed_loop.to_text(loop)}\nsaved in {run.folder}"
    return value, text, exported.passed


def report(arguments: argparse.Namespace) -> Outcome:
    """Write the report of a run.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and True.
    """
    from labkit import runs

    path = runs.report(arguments.run, arguments.out, download=arguments.download)
    claims = [claim.says for claim in runs.read(path)]
    text = "\n".join([*claims, f"saved in {path}; check it: python -m labkit verify {path}"])
    return {"schema": 1, "report": str(path), "claims": claims}, text, True


def verify(arguments: argparse.Namespace) -> Outcome:
    """Verify a report.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and whether no claim has drifted.
    """
    from labkit import runs
    from labkit.runs.claims import DRIFTED, OUTCOMES

    verdicts = []
    for verdict in runs.verify(runs.read(arguments.report), full=arguments.full, download=arguments.download):
        verdicts.append(verdict)
        if not arguments.json:
            print(verdict, file=sys.stderr, flush=True)
    counts = {outcome: sum(v.outcome == outcome for v in verdicts) for outcome in OUTCOMES}
    passed = counts[DRIFTED] == 0
    rows = [{"claim": v.claim.says, "outcome": v.outcome, "found": v.found} for v in verdicts]
    text = ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
    return {"schema": 1, "passed": passed, **counts, "claims": rows}, text, passed
