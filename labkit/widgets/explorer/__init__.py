"""What a latency weight or a target chooses among known architectures, and the picture of it.

Python is the oracle: `choose`, `frontier` and `reachable` say what must be drawn. The browser twin,
`explorer.js`, repeats only `choose`, because a key press has no time to ask a kernel.
Everywhere: error is a fraction of images, latency is in ms, a weight is error fraction per ms.
"""

from labkit.widgets.explorer.axes import Axis as Axis
from labkit.widgets.explorer.choosing import check_target as check_target
from labkit.widgets.explorer.choosing import check_weight as check_weight
from labkit.widgets.explorer.choosing import choose as choose
from labkit.widgets.explorer.choosing import default_target as default_target
from labkit.widgets.explorer.choosing import default_weight as default_weight
from labkit.widgets.explorer.choosing import describe as describe
from labkit.widgets.explorer.choosing import filling_weight as filling_weight
from labkit.widgets.explorer.choosing import frontier as frontier
from labkit.widgets.explorer.choosing import reachable as reachable
from labkit.widgets.explorer.choosing import weight_stops as weight_stops
from labkit.widgets.explorer.choosing import weight_text as weight_text
from labkit.widgets.explorer.page import MODULE as MODULE
from labkit.widgets.explorer.page import for_browser as for_browser
from labkit.widgets.explorer.page import to_html as to_html
from labkit.widgets.explorer.picture import static_picture as static_picture
from labkit.widgets.explorer.scenes import Scene as Scene
from labkit.widgets.explorer.scenes import ScenePoint as ScenePoint
from labkit.widgets.explorer.scenes import scene_of as scene_of
