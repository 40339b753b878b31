"""The one exception of our own."""


class InputError(ValueError):
    """Something was asked for that cannot be: an unknown name, a bad number, a file that is not there.

    The message is one line and says what was expected, what came and what to do, so the command line
    prints it as it is and exits with 2. Anything else that escapes is a defect and keeps its traceback.
    """
