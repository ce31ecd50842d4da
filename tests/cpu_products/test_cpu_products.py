"""XLA's products on a CPU stay within their factors: every buffer ends at a page that may not be read.

From jaxlib 0.10.2 on they did not: `ynn::transpose_x32_avx512`, which packs a factor of a float32 product, reads whole
registers past its end on processors with AVX-512. In a long training that is a segmentation fault once in a while; here
it is one at once.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.heavy
@pytest.mark.skipif(not sys.platform.startswith("linux") or shutil.which("cc") is None, reason="Linux and a C compiler")
def test_products_do_not_read_past_their_factors(tmp_path):
    guard = tmp_path / "guard_pages.so"
    subprocess.run(
        ["cc", "-O1", "-shared", "-fPIC", "-o", guard, HERE / "guard_pages.c", "-ldl", "-lpthread"], check=True
    )
    finished = subprocess.run(
        [sys.executable, "-X", "faulthandler", HERE / "program.py", guard],
        env={**os.environ, "LD_PRELOAD": str(guard), "JAX_PLATFORMS": "cpu", "CI": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout) > 100
