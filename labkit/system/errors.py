"""The one exception of our own, and how another library's becomes it."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something was asked for that cannot be: an unknown name, a bad number, a file that is not there.

    The message is one line and says what was expected, what came and what to do, so the command line
    prints it as it is and exits with 2. Anything else that escapes is a defect and keeps its traceback.
    """


def unknown(says: str, got: object, known: Iterable[str]) -> InputError:
    """What to raise for a name that is none of `known`: "spaces are", all of them, what came, and the nearest."""
    known = list(known)
    return InputError(f"{says} {', '.join(known) or 'none'}; got {got!r}{meant(got, known)}")


def meant(got: object, known: Iterable[str]) -> str:
    """The known name that is nearest to what came, as the end of a message; "" where none is near."""
    near = difflib.get_close_matches(str(got), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


@contextmanager
def damaged(file: object, remedy: str) -> Iterator[None]:
    """What cannot be made of a file's content is an InputError that names the file and the remedy, in one line."""
    try:
        yield
    except InputError as problem:
        if str(file) in str(problem):
            raise
        raise InputError(f"{file}: {problem}; {remedy}") from None
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as problem:
        what = f"lacks {problem}" if isinstance(problem, KeyError) else " ".join(str(problem).split())[:300]
        raise InputError(f"{file} is damaged ({what}): {remedy}") from None


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
