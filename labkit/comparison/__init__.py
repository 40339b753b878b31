"""Is the search worth it? A sweep and its rivals at equal cost, over seeds, by what the chosen networks really are.

One sweep of latency weights a seed, with its second stage. The rivals search on that sweep's shared weights and pay for
them, or train from scratch for as long. Every chosen network is then judged by training it in full: by the truth table
where one of the same space and images is known, else here.
"""

from labkit.comparison.making import compare as compare
from labkit.comparison.rows import OURS as OURS
from labkit.comparison.rows import SCAN as SCAN
from labkit.comparison.rows import SCRATCH as SCRATCH
from labkit.comparison.rows import Comparison as Comparison
from labkit.comparison.rows import Row as Row
from labkit.comparison.rows import load as load
from labkit.comparison.rows import save as save
from labkit.comparison.statistics import band as band
from labkit.comparison.statistics import bars as bars
from labkit.comparison.statistics import expected_best as expected_best
from labkit.comparison.statistics import regrets as regrets
from labkit.comparison.statistics import sign_flips as sign_flips
from labkit.comparison.statistics import steering as steering
from labkit.comparison.statistics import verdicts as verdicts
from labkit.comparison.telling import drawn as drawn
from labkit.comparison.telling import to_text as to_text
