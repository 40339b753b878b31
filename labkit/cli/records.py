"""Files that a bench or a study writes: what made them, and going on from one that was stopped."""

import shlex
import sys
from pathlib import Path
from typing import Any

from labkit.system.errors import InputError


def typed() -> str:
    """What was typed, for a file to say what made it."""
    return "python -m labkit " + shlex.join(sys.argv[1:])


def provenance(device: str = "cpu") -> dict[str, Any]:
    """What made a file: the command, the machine, the versions and the day."""
    from labkit.system.device import device_name, today, versions

    return {"command": typed(), "device": device_name(device), "versions": versions(), "date": today()}


def earlier(out: str | None, value: dict[str, Any], growing: str | None = None) -> dict[str, Any] | None:
    """What an earlier run left in `out`, to go on from; refused when it was asked something else.

    Of what was asked under the name `growing`, a mapping, there may be more now: that is then left to do.
    What made the rows that are there is noted under `made` in `value`, where it is not what makes the others.
    """
    from labkit.benches.record import in_sittings
    from labkit.system import storage

    if not out:
        return None
    storage.writable_file(out)
    if not Path(out).exists():
        return None
    old = storage.read_json(out, value["kind"], value["schema"])
    asked = old.get("asked")
    if growing and asked:
        asked = asked | {growing: value["asked"][growing] | asked[growing]}
    if asked != value["asked"]:
        raise InputError(f"{out} is of another bench, that asked something else: name another file, or repeat that one")
    value["made"] = in_sittings(old["made"], len(old["rows"]), value["made"])
    return old


def save_with_rows(path: str, value: dict[str, Any]) -> None:
    from labkit.system import storage

    storage.write_json(path, {key: x for key, x in value.items() if key != "rows"}, rows=value["rows"])
