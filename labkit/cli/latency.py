"""`latency`: what a millisecond is here."""

import argparse
from pathlib import Path

from labkit.cli.arguments import Outcome, add_acts, add_verb, image_of, on_terminal, resumes, usable_device
from labkit.cli.records import typed
from labkit.system.errors import InputError


def add(verbs) -> None:
    """Add the verb `latency`.

    Args:
        verbs: the subparsers to add it to.
    """
    acts = add_acts(
        verbs, "latency", "what a millisecond is here: a latency table for this machine, and how far to trust it"
    )
    text = "measure a table, then whole networks beside it; a stopped one resumes"
    p = add_verb(acts, "build", build, text, stopped=resumes)
    p.add_argument("--space", default="five_layer")
    p.add_argument("--classes", type=int, default=10)
    p.add_argument("--image", help="channels, height and width, such as 3,96,128; else the space's own")
    p.add_argument("--runtime", default="torch")
    p.add_argument("--batch-size", type=int, default=1)
    p.add_argument("--threads", type=int, default=1, help="cores a network may use; with one, others disturb least")
    p.add_argument("--dtype", default="float32", help="or float16, bfloat16, where the runtime takes them")
    p.add_argument("--device", default="cpu", help="or cuda")
    p.add_argument("--seconds", type=float, default=0.25, help="of timing a part, or a whole network")
    p.add_argument("--rounds", type=int, default=45, help="blocks that a part's seconds are cut into")
    p.add_argument("--networks", type=int, default=120, help="timed whole: half to fit predictors, half to test them")
    p.add_argument("--out", required=True, help="file of the table, .json")


def build(arguments: argparse.Namespace) -> Outcome:
    """Measure a latency table, and test it on whole networks.

    Args:
        arguments: of the verb.

    Returns:
        JSON, text, and whether the table passed.
    """
    from labkit import spaces
    from labkit.latency import TimingConditions, additivity
    from labkit.latency import build as latency_build

    space = spaces.by_name(arguments.space, arguments.classes)
    space = space.for_images(image_of(arguments) or space.image)
    device = usable_device(arguments)
    asked = ("runtime", "batch_size", "dtype", "threads", "seconds", "rounds")
    conditions = TimingConditions(device=device, **{name: getattr(arguments, name) for name in asked})
    if arguments.networks < 20:
        raise InputError(
            f"at least 20 whole networks are timed, half to fit and half to test; got {arguments.networks}"
        )
    built = latency_build.build(
        arguments.out,
        space,
        conditions,
        fit=arguments.networks // 2,
        held_out=arguments.networks - arguments.networks // 2,
        command=typed(),
        progress=on_terminal(),
    )
    table, report = built.table, built.report
    low, high = table.range_ms()
    parts = [(name, *part) for name, slot in zip(table.slot_names, table.slots) for part in slot]
    parts += [(f"edge {e + 1}", *part) for e, edge in enumerate(table.edges) for part in edge.ops]
    unsteady = [f"{op} in {name}" for name, op, timing in parts if timing and not timing.steady]
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
