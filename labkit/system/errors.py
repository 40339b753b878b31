"""InputError, the library's own exception, and how errors of other libraries become one."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """A request cannot be carried out: an unknown name, a bad number, a missing file.

    The message is one line and says what was expected, what came and what to do. The command line prints it and exits
    with status 2. Any other exception is a defect and keeps its traceback.
    """


def unknown(says: str, got: object, known: Iterable[str]) -> InputError:
    """Make the error for a name that is not known. The message lists the known names and the nearest one.

    Args:
        says: beginning of the message, such as "spaces are".
        got: what came in place of a known name.
        known: the names that would have been right.

    Returns:
        The error, to be raised by the caller.
    """
    known = list(known)
    return InputError(f"{says} {', '.join(known) or 'none'}; got {got!r}{meant(got, known)}")


def meant(got: object, known: Iterable[str]) -> str:
    """Suggest the known name that is nearest to what came.

    Args:
        got: what came in place of a known name.
        known: the names that would have been right.

    Returns:
        The end of a message, such as "; did you mean mobile?"; "" where no name is near.
    """
    near = difflib.get_close_matches(str(got), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


@contextmanager
def damaged(file: object, remedy: str) -> Iterator[None]:
    """Turn errors inside the block, which reads a file's content, into an InputError of one line.

    Args:
        file: the path, which the message names.
        remedy: what to do, such as "measure the table again".

    Raises:
        InputError: the content lacks a key, or has a value of a wrong type or range.
    """
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
    """Turn every error inside the block into an InputError of one line.

    Args:
        says: beginning of the message. The first line of the error that was raised first follows it.
        remedy: end of the message: what to do.

    Raises:
        InputError: in place of any other exception.
    """
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
