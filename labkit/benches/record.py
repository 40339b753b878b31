"""What the records of all benches share."""

from typing import Any


def in_sittings(before: dict[str, Any], rows: int, made: dict[str, Any]) -> dict[str, Any]:
    """What makes a file that another run began: its command, machine, versions and day.

    Under "earlier" is each other command, machine or version that made rows before, and how many there were by then.
    """
    if not made:
        return before
    alike = lambda one: {key: value for key, value in one.items() if key not in ("date", "earlier")}
    earlier = [*before.get("earlier", ())]
    if alike(before) != alike(made):
        earlier.append({key: value for key, value in before.items() if key != "earlier"} | {"rows": rows})
    return made | ({"earlier": earlier} if earlier else {})
