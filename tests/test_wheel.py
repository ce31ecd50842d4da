"""The wheel, installed by the README's own commands into an empty environment: it computes, and brings no TensorFlow."""

import os
import re
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]

CHECK = """
import math
from importlib.metadata import distributions, version
from importlib.resources import files

# On the diagonal cos θ = c/q = 0.8, and the arc-cosine kernel of ReLU is known.
want = 1.25 / (2 * math.pi) * (0.6 + 0.8 * (math.pi - math.acos(0.8))) * (x**2).sum(axis=1)
assert jax.numpy.allclose(jax.numpy.diag(kernels.d), want, rtol=1e-5), (kernels.d, want)
assert snn_ntk.__version__ == version("snn-ntk") == {cited!r}
assert files("snn_ntk").joinpath("py.typed").is_file()
names = {{distribution.metadata["Name"].lower() for distribution in distributions()}}
assert "neural-tangents" in names
assert not [name for name in names if name.startswith(("tensorflow", "tf2jax"))], names
"""


@pytest.fixture
def wheel(tmp_path):
    """The file that `SNN_NTK_WHEEL` names, as a release gives it, or one built from this checkout."""
    given = os.environ.get("SNN_NTK_WHEEL")
    if given:
        return Path(given).resolve()
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True)
    (built,) = (tmp_path / "dist").iterdir()
    return built


@pytest.mark.heavy
def test_readme_recipe_in_an_empty_environment(tmp_path, wheel, capsys):
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Use the library\n")[1].split("\n## ")[0]
    blocks = dict(reversed(re.findall(r"```(\w+)[^\n]*\n(.*?)```", section, re.DOTALL)))  # the first of each language
    first, second = blocks["bash"].splitlines()
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables = kept | {"PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def run(*command):
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)

    def install(command):
        done = run(*(str(wheel) if word == "snn-ntk" else word for word in shlex.split(command, comments=True)))
        assert done.returncode == 0, (
            f"expected pip to reach a package index and install, got\n{done.stdout}{done.stderr}"
        )

    install(first)
    alone = run("python", "-c", "import snn_ntk")
    assert alone.stderr.count("Traceback") == 1
    assert re.fullmatch(rf"ImportError: .*: {re.escape(second)}", alone.stderr.splitlines()[-1]), alone.stderr

    install(second)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    done = run("python", "-W", "error", "-c", blocks["python"] + CHECK.format(cited=cited))
    assert done.returncode == 0, done.stderr

    size = sum(path.lstat().st_size for path in environment.rglob("*"))
    with capsys.disabled():
        print(f"\nenvironment of {wheel.name}: {size / 1e6:.0f} MB")
    assert size < 1e9
