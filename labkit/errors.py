"""The one exception of our own, and how another library's becomes it."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something was asked for that cannot be: an unknown name, a bad number, a file that is not there.

    The message is one line and says what was expected, what came and what to do, so the command line
    prints it as it is and exits with 2. Anything else that escapes is a defect and keeps its traceback.
    """


@contextmanager
def in_one_line(says: str, remedy: str) -> Iterator[None]:
    """Whatever is raised inside the block becomes an InputError: `says`, the first line of what began it, `remedy`."""
    try:
        yield
    except InputError:
        raise
    except Exception as problem:
        root: BaseException = problem
        while root.__cause__ is not None:
            root = root.__cause__
        lines = (line.strip() for line in str(root).splitlines() if not line.startswith("Exception from"))  # OpenVINO
        why = next(filter(None, lines), type(root).__name__)
        raise InputError(f"{says} ({why[:300]}): {remedy}") from problem
