"""Every option of every widget, tried in turn."""

import ipywidgets


def check_all(widget: ipywidgets.Widget) -> None:
    """Drive a widget, or every widget inside it, through all its options.

    Args:
        widget: any widget; a box is searched for those that can be driven.

    Raises:
        Exception: the first that an option raises.
    """
    own = getattr(widget, "check_all", None)
    if own is not None:
        own()
        return
    for child in getattr(widget, "children", ()):
        check_all(child)
