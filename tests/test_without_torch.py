"""What needs no network is imported without torch."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["stats", "pareto", "blackbox", "spaces.choices"])
def test_a_module_of_numbers_is_imported_without_torch(module):
    code = f"import sys, labkit.{module}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
