from .report import top_quarter as top_quarter
from .table import Timed as Timed
from .table import Truth as Truth
from .table import load as load
from .table import save_timed as save_timed
from .timing import space_of as space_of
from .timing import table_of as table_of
from .timing import time_all as time_all
