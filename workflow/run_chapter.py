"""Executes one chapter: MyST notebook → papermill with the profile's parameters → gate → moved into place at once.

The run happens in `_build/<profile>/running/<chapter>`; a failed one stays there, to be read. With `--run` it is one run
of the chapter's sweep, from `notebooks/sweeps/<chapter>.md`.
"""

from __future__ import annotations

if __name__ == "__main__":
    import interruption  # noqa: F401  (before all other imports)

import argparse
import logging
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gate
import jupytext
import nbformat
import papermill
from compilation import quick_flags
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from parameters import check_parameters, known_parameters, read_profile, read_run
from paths import PROFILES, Paths, remove
from processes import PARENT, end_with_parent

__all__ = ["run", "sweep_run"]

# JAX's programs live as long as the kernel: to look through them for garbage at the usual rate takes a twentieth of the time
# where nearly all is compiling, as at smoke.
SELDOM = "import gc; gc.set_threshold(200_000, 50, 1000)"


def _environment(folder: Path, profile: str, chapter: str) -> None:
    """What the kernel of a chapter, or of a run of its sweep, inherits."""
    os.environ["SNN_NTK_OUTPUT"] = str(folder.resolve())
    # A chapter's own bars would end up in its page.
    os.environ["TQDM_DISABLE"] = "1"
    # One card may serve other programs too, and preallocation takes three quarters of it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # XLA's remarks about slow compilations would go to the terminal, between the lines about chapters.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Products in a chapter's own cells; those of the library ask for it themselves.
    os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
    if profile == "gpu":
        return
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # Chapters run side by side, one a core: more threads than that only get in each other's way.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    if profile == "smoke":
        # Programs are compiled once and hardly used: compiling them well takes longer than running them badly.
        os.environ["XLA_FLAGS"] = quick_flags(chapter)


class _SparingEngine(NBClientEngine):
    """Saves the notebook every ten seconds and at the end; papermill's own writes all of it twice a cell."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: NotebookExecutionManager, kernel_name: str, *args: Any, **options: Any):
        save = nb_man.save

        def save_now_and_then(**_: Any) -> None:
            if (nb_man.now() - nb_man.last_save_time).total_seconds() > 10:
                save()

        nb_man.save = save_now_and_then
        try:
            super().execute_managed_notebook(nb_man, kernel_name, *args, **options)
        finally:
            nb_man.save = save


papermill_engines.register("sparing", _SparingEngine)


def _last_lines(error: Exception, count: int = 12) -> str:
    if isinstance(error, DeadKernelError):
        return "    the kernel died twice: a library crashed, or the memory did not suffice"
    text = "\n".join(getattr(error, "traceback", None) or [f"{type(error).__name__}: {error}"])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return "\n".join("    " + line for line in plain.strip().splitlines()[-count:])


def _execute(source: Path, running: Path, profile: str, parameters: dict[str, Any], name: str) -> float:
    """Executes a notebook in the folder `running` and checks it; returns the seconds that it took.

    If the kernel dies, which no cell's own error does, it is tried once more; what a training left in `running` is gone
    on from. The notebook's metadata and the records then say so.

    Raises:
        SystemExit: after a message, if the notebook fails.
    """
    known = known_parameters(source.read_text(encoding="utf-8"), name)
    check_parameters(parameters, known, f"profile {profile}, {name}")
    if "profile" in known:
        parameters = {"profile": profile} | parameters
    running.mkdir(parents=True, exist_ok=True)
    executed = running / "notebook.ipynb"
    notebook = jupytext.read(source)
    _environment(running, profile, name.partition("/")[0])
    # It warns about names that it cannot find by its own reading of the cell; check_parameters has read it properly.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    started = time.monotonic()
    print(f"{name}: running ({profile})", flush=True)

    quick = [f"--IPKernelApp.exec_lines={SELDOM}"] if profile == "smoke" else []

    def execute() -> None:
        nbformat.write(notebook, running / "source.ipynb")
        papermill.execute_notebook(
            running / "source.ipynb",
            executed,
            parameters,
            engine_name="sparing",
            kernel_name="python3",
            language="python",
            cwd=source.parent,
            progress_bar=False,
            # A kernel's own messages; it logs the signal that shuts it down as an error. Failures arrive by the notebook.
            extra_arguments=["--IPKernelApp.log_level=CRITICAL", *quick],
        )

    try:
        try:
            execute()
        except RuntimeError as error:
            if isinstance(error, DeadKernelError):
                print(f"{name}: the kernel died after {time.monotonic() - started:.0f} s; once more", flush=True)
                notebook.metadata["retried"] = os.environ["SNN_NTK_RETRIED"] = "the kernel died once"
            elif "before replying to kernel_info" in str(error):
                # Two kernels that begin at one moment may choose one port. Nothing of the notebook has run.
                print(f"{name}: the kernel did not start; once more", flush=True)
            else:
                raise
            execute()
        gate.check_file(executed, name)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        print(
            f"\n{name}: FAILED after {time.monotonic() - started:.0f} s\n{_last_lines(error)}\n"
            f"    The notebook up to there: {os.path.relpath(executed)}\n",
            file=sys.stderr,
            flush=True,
        )
        raise SystemExit(1) from None
    (running / "source.ipynb").unlink()
    return time.monotonic() - started


def run(paths: Paths, chapter: str) -> None:
    """Executes a chapter and puts `notebook.ipynb`, `claims.json` and `figures/` in place.

    Raises:
        SystemExit: after a message, if the notebook fails.
    """
    running, final = paths.running(chapter), paths.chapter(chapter)
    remove(running)
    seconds = _execute(paths.notebook(chapter), running, paths.profile, read_profile(paths, chapter), chapter)
    remove(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    os.rename(running, final)
    print(f"{chapter}: done in {seconds:.0f} s", flush=True)


def sweep_run(paths: Paths, chapter: str, name: str) -> None:
    """Executes one run of a chapter's sweep and puts its result, `<run>.json`, in place, its notebook beside it.

    What an interrupted run left behind stays for it to go on from.

    Raises:
        SystemExit: after a message, if the notebook fails or leaves no result.
    """
    running, result, label = paths.running(chapter, name), paths.result(chapter, name), f"{chapter}/{name}"
    seconds = _execute(paths.sweep(chapter), running, paths.profile, read_run(paths, chapter, name), label)
    if not (running / "run.json").is_file():
        raise SystemExit(f"{label}: expected the notebook to leave its result by sweeps.write_run, got none")
    result.parent.mkdir(parents=True, exist_ok=True)
    os.replace(running / "notebook.ipynb", result.with_suffix(".ipynb"))
    os.replace(running / "run.json", result)
    remove(running)
    print(f"{label}: done in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapter")
    parser.add_argument("--profile", default="laptop", choices=PROFILES)
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--run", help="this run of the chapter's sweep, instead of the chapter")
    arguments = parser.parse_args()
    if PARENT in os.environ:
        end_with_parent()
    paths = Paths(arguments.root, arguments.profile)
    try:
        if arguments.run:
            sweep_run(paths, arguments.chapter, arguments.run)
        else:
            run(paths, arguments.chapter)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{arguments.chapter}: {error}") from None
