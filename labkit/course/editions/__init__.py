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

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
