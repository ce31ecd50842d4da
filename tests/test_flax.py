"""What is said of Flax, which the environment does not have, holds with it: installed beside the environment, for this alone."""

import os
import subprocess
import sys
import venv

import pytest
from project import ROOT

WHO = ["tests/kernels/test_finite.py::test_a_model_of_flax", "tests/test_howto.py"]


@pytest.mark.heavy
def test_with_flax(tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    (ours,) = (path for path in sys.path if path.endswith("site-packages"))
    (packages,) = environment.glob("lib/*/site-packages")
    (packages / "ours.pth").write_text(f"{ours}\n")
    variables = os.environ | {"PYTHONPATH": str(ROOT / "src")}

    def run(*command):
        done = subprocess.run([python, "-m", *command], cwd=ROOT, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("pip", "install", "--quiet", "--constraint", "requirements.txt", "flax")
    said = run("pytest", "-m", "heavy or not heavy", "-p", "no:cacheprovider", *WHO, "-k", "flax or finite-networks")
    assert "2 passed" in said, said
