"""The controls of the notebooks. They need ipywidgets and anywidget, which `import labkit` does without.

Every widget leaves a static picture in the cell's output, for readers without a kernel, and `check_all`
drives each through everything a reader can choose, so that a callback that raises is found before they do.
"""

from labkit.widgets.checking import check_all as check_all
from labkit.widgets.exploring import Explorer as Explorer
from labkit.widgets.exploring import explore as explore
from labkit.widgets.flipping import FlipExplorer as FlipExplorer
from labkit.widgets.replaying import Replayer as Replayer
from labkit.widgets.switching import Switch as Switch
from labkit.widgets.switching import Switches as Switches
from labkit.widgets.switching import switch as switch
from labkit.widgets.switching import switches as switches
