"""The checkers of the notebooks' exercises, by number: each compares an answer with the library's own."""

from labkit.course import Wrong, checker


def _need(condition: bool, hint: str) -> None:
    if not condition:
        raise Wrong(hint)
