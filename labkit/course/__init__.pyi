from .lesson import Verdict as Verdict
from .lesson import check as check
from .lesson import copy_notebooks as copy_notebooks
from .lesson import predict as predict
from .lesson import progress_file as progress_file
from .lesson import reveal as reveal
from .lesson import start as start
