"""The provenance of a file that a verb writes."""

import shlex
import sys
from typing import Any


def typed() -> str:
    """The command as it was typed.

    Returns:
        The command line.
    """
    return "python -m labkit " + shlex.join(sys.argv[1:])


def provenance(device: str = "cpu") -> dict[str, Any]:
    """What made a file.

    Args:
        device: "cpu" or "cuda".

    Returns:
        Command, device, versions and date, as JSON.
    """
    from labkit.system.device import device_name, today, versions

    return {"command": typed(), "device": device_name(device), "versions": versions(), "date": today()}
