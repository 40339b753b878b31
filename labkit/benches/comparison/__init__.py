"""Is the search worth it? A sweep and its baselines at equal cost, over seeds, by what the chosen networks really are.

There is one sweep of latency weights a seed, with its second stage. The baselines search on that sweep's shared weights
and pay for them, or train from scratch for as long. Every chosen network is then evaluated by training it in full: by
the tabular benchmark where one of the same space and images is known, else here.
"""

from labkit.benches.comparison.rows import OURS as OURS
from labkit.benches.comparison.rows import SCAN as SCAN
from labkit.benches.comparison.rows import SCRATCH as SCRATCH
from labkit.benches.comparison.rows import Comparison as Comparison
from labkit.benches.comparison.rows import Row as Row
from labkit.benches.comparison.rows import load as load
from labkit.benches.comparison.rows import save as save
from labkit.benches.comparison.run import compare as compare
from labkit.benches.comparison.text import drawn as drawn
from labkit.benches.comparison.text import to_text as to_text
from labkit.benches.comparison.verdicts import regret_thresholds as regret_thresholds
from labkit.benches.comparison.verdicts import regrets as regrets
from labkit.benches.comparison.verdicts import steering as steering
from labkit.benches.comparison.verdicts import verdicts as verdicts
from labkit.stats import expected_best as expected_best
from labkit.stats import sign_flips as sign_flips
