"""The checkers of the notebooks' exercises, a module a notebook: each compares an answer with the library's own.

Importing the package registers all of them.
"""

from labkit.course.exercises import deploy, estimators, frontier, latency, search, search_spaces, start_here, supernet  # noqa: F401
from labkit.course.exercises.checkers import CHECKERS as CHECKERS
