"""The provenance of a file that a verb writes."""

import shlex
import sys
from typing import Any


def typed() -> str:
    """What was typed, for a file to say what made it."""
    return "python -m labkit " + shlex.join(sys.argv[1:])


def provenance(device: str = "cpu") -> dict[str, Any]:
    """What made a file: the command, the machine, the versions and the day."""
    from labkit.system.device import device_name, today, versions

    return {"command": typed(), "device": device_name(device), "versions": versions(), "date": today()}
