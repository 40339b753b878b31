"""Figures: each function is given results, draws one thing on one axes and returns the axes.

Numbers are computed elsewhere; colour never stands alone; every axis has its unit and says where its numbers are from.
"""

from labkit.plots.canvas import GREY as GREY
from labkit.plots.canvas import ORANGE as ORANGE
from labkit.plots.canvas import Picture as Picture
from labkit.plots.canvas import axes as axes
from labkit.plots.canvas import grid_of_axes as grid_of_axes
from labkit.plots.canvas import picture as picture
from labkit.plots.deploying import closed_loop as closed_loop
from labkit.plots.deploying import fusion as fusion
from labkit.plots.deploying import race as race
from labkit.plots.estimators import beside_exact as beside_exact
from labkit.plots.estimators import bias_and_variance as bias_and_variance
from labkit.plots.estimators import estimator_bench as estimator_bench
from labkit.plots.estimators import gradient_bias as gradient_bias
from labkit.plots.frontiers import cloud as cloud
from labkit.plots.frontiers import dominated_area as dominated_area
from labkit.plots.frontiers import frontier as frontier
from labkit.plots.frontiers import reached as reached
from labkit.plots.frontiers import shares as shares
from labkit.plots.frontiers import study as study
from labkit.plots.latency import agreement as agreement
from labkit.plots.latency import calls as calls
from labkit.plots.latency import clocks as clocks
from labkit.plots.latency import defects as defects
from labkit.plots.latency import estimates as estimates
from labkit.plots.latency import flips as flips
from labkit.plots.latency import latency_table as latency_table
from labkit.plots.latency import layer_latency as layer_latency
from labkit.plots.latency import parts_against_whole as parts_against_whole
from labkit.plots.searching import choices as choices
from labkit.plots.searching import comparison as comparison
from labkit.plots.searching import latency_costs as latency_costs
from labkit.plots.searching import learning as learning
from labkit.plots.searching import luck as luck
from labkit.plots.searching import replay as replay
from labkit.plots.spaces import images as images
from labkit.plots.spaces import sizes as sizes
from labkit.plots.spaces import strip as strip
from labkit.plots.supernet import losses as losses
from labkit.plots.supernet import rank_agreement as rank_agreement
from labkit.plots.supernet import ranking as ranking
from labkit.plots.supernet import two_errors as two_errors
