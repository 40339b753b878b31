"""One percent source a notebook, two editions: the learner's, with blanks, and the solution's.

`notebooks/src/NN_topic.py` is what an author edits; `build` writes `notebooks/NN_topic.ipynb` and
`notebooks/solutions/NN_topic.ipynb`, the same bytes from the same source every time. In a code cell tagged
`exercise` the author writes the answer between two comments, with what the learner finds in its place before:

    # stub: return None
    # solution
    return energy / steps
    # end solution

Outputs live only on the learner edition's cells tagged `keep_output`; `execute_static` puts them there.
"""

from labkit.course.editions.building import build as build
from labkit.course.editions.building import check as check
from labkit.course.editions.building import execute_static as execute_static
from labkit.course.editions.linting import lint as lint
from labkit.course.editions.sources import exercise_cells as exercise_cells
from labkit.course.editions.sources import sources as sources
