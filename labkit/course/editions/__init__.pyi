from .authoring import exercise_cells as exercise_cells
from .authoring import sources as sources
from .building import build as build
from .building import check as check
from .building import execute_static as execute_static
from .linting import lint as lint
