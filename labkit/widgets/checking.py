"""Every option of every widget, tried."""

import ipywidgets


def check_all(widget: ipywidgets.Widget) -> None:
    """Drive `widget`, or every widget inside it, through all its options; raises the first error."""
    own = getattr(widget, "check_all", None)
    if own is not None:
        own()
        return
    for child in getattr(widget, "children", ()):
        check_all(child)
