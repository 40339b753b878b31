"""Run notebooks with no one watching, and believe the result: papermill behind a gate.

papermill alone passes a notebook whose widget callback raised, whose parameter name was mistyped, that
called `sys.exit(0)` half-way, whose shell command failed or whose thread died. So a run here goes
parameters checked -> banned code refused -> papermill in its own process, offline, under a time limit
-> the written notebook searched for everything papermill passes over.
"""

from labkit.course.headless.banned import calls as calls
from labkit.course.headless.banned import code_problems as code_problems
from labkit.course.headless.parameters import NOT_LITERAL as NOT_LITERAL
from labkit.course.headless.parameters import parameter_defaults as parameter_defaults
from labkit.course.headless.reading import heading as heading
from labkit.course.headless.reading import parsed as parsed
from labkit.course.headless.reading import read_notebook as read_notebook
from labkit.course.headless.reading import sections as sections
from labkit.course.headless.reading import tags as tags
from labkit.course.headless.reading import where as where
from labkit.course.headless.running import find as find
from labkit.course.headless.running import notebooks as notebooks
from labkit.course.headless.running import run as run
from labkit.course.headless.running import run_all as run_all
from labkit.course.headless.sandboxing import KERNELSPEC as KERNELSPEC
from labkit.course.headless.sandboxing import OFFLINE as OFFLINE
from labkit.course.headless.sandboxing import sandbox as sandbox
from labkit.course.headless.supervising import Ended as Ended
from labkit.course.headless.supervising import supervise as supervise
from labkit.system.storage import NOTEBOOKS as NOTEBOOKS
