"""`import snn_ntk` loads the library only, whatever else is installed."""

import subprocess
import sys

ELSEWHERE = """
IPython PIL diffrax equinox lineax matplotlib mlxtend openpyxl optax pandas platformdirs pooch scipy.optimize scipy.stats
seaborn sklearn tensorflow tqdm yaml snn_ntk.datasets snn_ntk.regression snn_ntk.reporting
"""

LOADED = f"""
import sys
import snn_ntk
assert "neural_tangents" in sys.modules
print(*sorted(set({ELSEWHERE.split()}) & set(sys.modules)))
"""


def test_import_loads_the_library_only():
    loaded = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True).stdout.split()
    assert loaded == []
