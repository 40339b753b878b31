"""`export`, `report` and `verify`: a run's network leaves PyTorch, and what is said of it can be checked again."""

import argparse
import sys
from pathlib import Path
from typing import Any

from labkit.cli.arguments import Outcome, add_verb, on_terminal, usable_device, words
from labkit.system.errors import InputError, unknown


def add(verbs) -> None:
    text = "train a run's choice from scratch, export it to ONNX, check and time it"
    once = lambda arguments: f"the same command begins anew, but trains nothing that {arguments.run} has trained"
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
    from labkit.deploy import compiling
    from labkit.deploy import export as exporting
    from labkit.networks.training import TrainConfig
    from labkit.runs import run
    from labkit.runtimes import tensorrt_engines
    from labkit.runtimes.registry import loaded as loaded_runtime
    from labkit.runtimes.registry import runtime
    from labkit.system import storage

    names, precisions = words(arguments.runtimes), words(arguments.precisions)
    if not names or not precisions:
        raise InputError("at least one runtime and one precision, such as --runtimes torch --precisions fp32")
    for name in names:
        runtime(name)
    for precision in precisions:
        if precision not in exporting.PRECISIONS:
            raise unknown("precisions are", precision, exporting.PRECISIONS)
    if arguments.engine is not None:
        tensorrt_engines.buildable(arguments.engine)
    device = usable_device(arguments)
    deployed = compiling.first_usable("float32", device) if arguments.verify == "auto" else arguments.verify
    if deployed:
        loaded_runtime(deployed, device=device)
    if arguments.batch_size is not None and arguments.batch_size < 1:
        raise InputError(f"batches have at least one image; got {arguments.batch_size}")
    if arguments.architectures < 3:
        raise InputError(f"a rank agreement needs at least 3 architectures; got {arguments.architectures}")
    loaded = run.load(arguments.run)
    config = TrainConfig(epochs=arguments.epochs, seed=loaded.result.config.seed)
    data = loaded.image_set(download=arguments.download)
    network, accuracy = run.train_chosen(loaded, data, config, device=device, progress=on_terminal())
    path = exporting.to_onnx(network, loaded.folder / "network.onnx")
    eager = (exporting.BASELINE, exporting.LAYOUT)
    beside = eager if set(names) - set(eager) else ()  # so that no layout is mistaken for magic
    batch_size = 1 if arguments.batch_size is None else arguments.batch_size
    engines = _build_engines(arguments.engine, batch_size, network, data, precisions, loaded.folder / "engines")
    rows = exporting.benchmark(
        network,
        data.test,
        runtimes=names,
        precisions=precisions,
        beside=beside,
        batch_size=batch_size,
        device=device,
        onnx_model=path.read_bytes(),
        calibration=data.train,
    )
    rows = [row for row in rows if row.label in beside or (row.name in names and row.precision in precisions)]
    passed = all(row.computes_the_same for row in rows if row.available)
    value = {
        "schema": 1,
        "architecture": list(loaded.result.architecture.ops),
        "data": data.digest,
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
            *(["compiled eager, torch-compile: not timed"] if beside and "torch-compile" not in names else []),
        ]
    )
    storage.write_json(loaded.folder / "export.json", {"kind": "export", **value})
    value["engines"] = [engine for engine, _ in engines]
    if deployed:
        loop, more = _close_the_loop(arguments, loaded, data, deployed)
        value["closed_loop"], text = loop, f"{text}\n\n{more}"
    return value, text, passed


def _build_engines(flavour, batch_size, network, data, precisions, folder) -> list[tuple[dict[str, Any], str]]:
    """An engine of `flavour`, if any, a precision, kept in `folder`, and a line on each."""
    from labkit.deploy import compiling
    from labkit.runtimes import tensorrt_engines

    if flavour is None:
        return []
    settings = tensorrt_engines.Settings(tensorrt_engines.Profile(1, batch_size, max(64, batch_size)))
    built = []
    for precision in precisions:
        model = compiling.model_for(network, flavour, precision, data.train)
        engine = tensorrt_engines.cached(model, settings, folder, flavour=flavour)
        row = {"precision": precision, "flavour": engine.flavour, "version": engine.version}
        row |= {"bytes": len(engine.plan), "layers": engine.layers, "seconds": round(engine.seconds, 2)}
        text = (
            f"engine {precision}: {len(engine.plan) / 1024:.0f} KiB by {engine.flavour} {engine.version}, from "
            f"{engine.layers} layers in {engine.seconds:.1f} s, kept in {folder}"
        )
        built.append((row, text))
    return built


def _close_the_loop(arguments, loaded, data, runtime: str) -> tuple[dict[str, Any], str]:
    """What the search believed of its frontier beside the runtime that is deployed."""
    from labkit import plots
    from labkit.deploy import closed_loop
    from labkit.system import storage

    result = loaded.result
    points = closed_loop.along_the_frontier(
        result.supernet, data, loaded.table, result.config, result.architecture, arguments.architectures
    )
    loop = closed_loop.close(
        loaded.space,
        points,
        loaded.table,
        chosen=result.architecture,
        runtime=runtime,
        batch_size=arguments.batch_size,
        device=arguments.device,
    )
    value = {"kind": "closed loop", "schema": 1, **loop.to_json()}
    storage.write_json(loaded.folder / "closed_loop.json", value)
    picture = loaded.folder / "closed_loop.png"
    drawn = plots.picture(plots.closed_loop(loop), closed_loop.to_text(loop))
    storage.write_atomically(picture, lambda file: file.write_bytes(drawn.png))
    return value, f"{closed_loop.to_text(loop)}\nsaved in {picture.with_suffix('.json')} and {picture.name}"


def report(arguments: argparse.Namespace) -> Outcome:
    from labkit.runs import report as reports

    path = Path(arguments.out or Path(arguments.run) / "report.html")
    reports.write(arguments.run, path, download=arguments.download)
    found = reports.read(path)
    text = "\n".join([*(claim.says for claim in found), f"saved in {path}; check it: python -m labkit verify {path}"])
    return {"schema": 1, "report": str(path), "claims": [claim.says for claim in found]}, text, True


def verify(arguments: argparse.Namespace) -> Outcome:
    from labkit.runs import report as reports

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
