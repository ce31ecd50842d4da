"""Kernel ridge regression: its time against neural-tangents' and scikit-learn's, its memory, and a whole fit.

Times are of one process, in turns, and each error is against a solve in float64 by LAPACK. Run

    python benchmarks/regression.py                        # n = 10,000, ten outputs, the kernel given, ridge 1e-3 tr K / n
    python benchmarks/regression.py --memory               # peak memory of that solve, in kernels
    python benchmarks/regression.py --fit --n 60000 --folder DIR   # kernel, solve and test error on MNIST, resumable
    python benchmarks/regression.py --killed --n 60000 --folder DIR   # the same, killed twice half-way and resumed

    python benchmarks/regression.py --commit REPORT   # what one of these fits printed becomes the chapter's committed run

`--fit` takes the official files where they are found, and as many images as there are otherwise. `--killed` makes that fit
in three processes: one is killed when half of the kernel is there, one when the residual is half-way in digits. For a
machine that is busy or small, `--n 1000` rehearses.
"""

import argparse
import datetime
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import solve
from sklearn.kernel_ridge import KernelRidge as Reference

from snn_ntk._neural_tangents import nt, stax
from snn_ntk._precision import in_precision_of
from snn_ntk.datasets import mnist
from snn_ntk.kernels import tangent_kernels
from snn_ntk.regression import KernelRidge
from snn_ntk.reporting import write_results
from snn_ntk.reporting.provenance import book_root, provenance

OUTPUTS = 10
SIGMA0 = 0.5


def peak_bytes() -> int:
    """Most resident memory so far. Linux counts in kibibytes, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def problem(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The total kernel of unit inputs near a subspace of dimension 20, in 784, and noisy targets."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 20)) @ rng.standard_normal((20, 784)) + rng.standard_normal((n, 784))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    kernel = np.empty((n, n), np.float32)
    for start in range(0, n, 500):
        kernel[start : start + 500] = tangent_kernels(
            x[start : start + 500], x, activation=stax.Erf(), sigma0=SIGMA0, get="ntk"
        )
    y = np.tanh(3 * x @ rng.standard_normal((784, OUTPUTS))) + 0.1 * rng.standard_normal((n, OUTPUTS))
    return kernel, y


def seconds(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """By the clock and of the processor: on a machine that others use only the second is the call's own."""
    start, spent = time.perf_counter(), time.process_time()
    value = jax.block_until_ready(call())
    return time.perf_counter() - start, time.process_time() - spent, value


def against_peers(n: int, repeats: int) -> dict[str, Any]:
    """Predictions at the training inputs, from the kernel as float32 to numbers; float64 where a peer offers it."""
    times: dict[str, list[tuple[float, float]]] = {}
    errors: dict[str, list[float]] = {}
    passes = []
    for seed in range(repeats):
        kernel, y = problem(n, seed)
        ridge = 1e-3 * float(np.trace(kernel)) / n

        def streamed(kernel=kernel, y=y, ridge=ridge):
            model = KernelRidge("precomputed", ridge=ridge, solver="streamed").fit(kernel, y)
            passes.append(model.n_iter_)
            return y - ridge * model.dual_coef_  # K A = Y − ρ A

        def dense(kernel=kernel, y=y, ridge=ridge):
            return y - ridge * KernelRidge("precomputed", ridge=ridge).fit(kernel, y).dual_coef_

        def scikit_learn(kernel=kernel, y=y, ridge=ridge):
            model = Reference(
                alpha=ridge,  # type: ignore[arg-type]  # its stub says int
                kernel="precomputed",
            ).fit(kernel.astype(np.float64), y)
            return y - ridge * model.dual_coef_

        def neural_tangents(kernel=kernel, y=y, ridge=ridge):
            with in_precision_of(np.dtype(np.float64)):
                k = jnp.asarray(kernel, jnp.float64)
                predict = nt.predict.gp_inference(k, jnp.asarray(y), ridge, diag_reg_absolute_scale=True)
                return np.asarray(jax.block_until_ready(predict(get="nngp", k_test_train=k)))

        calls = {"streamed": streamed, "dense": dense, "scikit_learn": scikit_learn, "neural_tangents": neural_tangents}
        if not seed:
            streamed(kernel[:600, :600], y[:600])  # loads what it needs
        exact = kernel.astype(np.float64)
        exact[np.diag_indices(n)] += ridge
        exact = y - ridge * solve(exact, y, assume_a="pos", overwrite_a=True)
        for name, call in calls.items():
            clock, processor, value = seconds(call)
            times.setdefault(name, []).append((clock, processor))
            errors.setdefault(name, []).append(float(np.linalg.norm(value - exact) / np.linalg.norm(exact)))
    spent = {name: np.array(each) for name, each in times.items()}  # by the clock, of the processor
    fastest = np.minimum(spent["scikit_learn"], spent["neural_tangents"])

    def over_fastest(name: str, kind: int) -> dict[str, float]:
        ratios = spent[name][:, kind] / fastest[:, kind]
        return {"median": float(np.median(ratios)), "low": ratios.min(), "high": ratios.max()}

    kinds = {"seconds": 0, "processor_seconds": 1}
    return {
        "n": n,
        **{kind: {name: float(np.median(each[:, i])) for name, each in spent.items()} for kind, i in kinds.items()},
        "error": {name: max(each) for name, each in errors.items()},
        "passes": passes[-1],
        "ratio_to_the_faster": {
            name: {kind: over_fastest(name, i) for kind, i in kinds.items()} for name in ("streamed", "dense")
        },
    }


def memory(n: int) -> dict[str, float]:
    """Peak memory of a solve, the kernel included, in kernels of float32 (Linux)."""

    def status(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))

    def exponential(n: int) -> tuple[np.ndarray, np.ndarray]:
        """A kernel that is made where it stays: memory that was freed before the solve would hide what it takes."""
        x = np.random.default_rng(0).standard_normal((n, 20), np.float32) / 5
        kernel = np.empty((n, n), np.float32)
        np.exp(np.matmul(x, x.T, out=kernel), out=kernel)
        return kernel, np.tile(np.tanh(x[:, :1]), OUTPUTS) + x[:, :OUTPUTS]

    KernelRidge("precomputed", solver="streamed").fit(*exponential(600))  # loads what it needs
    before = status("VmRSS")
    kernel, y = exponential(n)
    ridge = 1e-3 * float(np.trace(kernel)) / n
    made = status("VmRSS")
    KernelRidge("precomputed", ridge=ridge, solver="streamed").fit(kernel, y)
    size = kernel.nbytes
    return {"n": n, "kernels_given": (made - before) / size, "kernels_at_peak": (status("VmHWM") - before) / size}


def images(n: int, share: float, tol: float, folder: Path | None) -> dict[str, Any]:
    """A whole fit on MNIST, ten classes as ±, from pixels to its test error."""
    train, test = mnist(split="train"), mnist(split="test")
    x, labels = train.images[:n], train.labels[:n]
    # All images have norm 1, hence one and the same k(x, x) = tr K / n.
    ridge = share * float(tangent_kernels(x[:1], activation=stax.Erf(), sigma0=SIGMA0).total[0, 0])
    model = KernelRidge(
        activation=stax.Erf(), sigma0=SIGMA0, ridge=ridge, tol=tol, folder=folder, solver="streamed", verbose=True
    )
    fitted, fitted_processor, _ = seconds(
        lambda: model.fit(x, np.where(labels[:, None] == np.arange(OUTPUTS), 0.9, -0.1)) and 0
    )
    predicted, predicted_processor, values = seconds(lambda: model.predict(test.images))
    return {
        "images": train.source,
        "n": len(x),
        "ridge": ridge,
        "tol": tol,
        "fit_seconds": fitted,
        "fit_processor_seconds": fitted_processor,
        "predict_seconds": predicted,
        "predict_processor_seconds": predicted_processor,
        "passes": model.n_iter_,
        "residual": float(np.max(model.residual_)),
        "test_error": float(np.mean(values.argmax(axis=1) != test.labels)),
        "peak_gigabytes": peak_bytes() / 1e9,
    }


def half_built(folder: Path, n: int) -> bool:
    """Whether half of the kernel's rows are there."""
    marks = list(folder.glob("kernel-*.npz"))
    return bool(marks) and int(np.load(marks[0])["done"]) >= n / 2


def half_solved(folder: Path, n: int, tol: float) -> bool:
    """Whether the residual has fallen by half of the digits that it has to."""
    states = list(folder.glob("solve-*.npz"))
    if not states:
        return False
    with np.load(states[0]) as state:
        norms = np.linalg.norm(state["residual"], axis=0)
        targets = np.sqrt(0.9**2 * 0.1 * n + 0.1**2 * 0.9 * n)
        return bool(np.all(norms <= tol**0.5 * targets))


def killed(n: int, share: float, tol: float, folder: Path) -> dict[str, Any]:
    """A fit in three processes, of which the first two are killed; seconds and processor seconds of each."""
    spent = []
    for reached in (half_built, lambda folder, n: half_solved(folder, n, tol), None):
        start = time.monotonic()
        options = {"--n": n, "--ridge": share, "--tol": tol, "--folder": folder}
        command = [sys.executable, __file__, "--fit", *(str(part) for pair in options.items() for part in pair)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while reached is not None and process.poll() is None and not reached(folder, n):
            time.sleep(0.2)
        if reached is not None:
            process.send_signal(signal.SIGKILL)
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        spent.append(
            {
                "ended_by": "SIGKILL" if os.WIFSIGNALED(status) else "itself",
                "seconds": time.monotonic() - start,
                "processor_seconds": usage.ru_utime + usage.ru_stime,
            }
        )
        print(json.dumps(spent[-1]), file=sys.stderr, flush=True)
    return json.loads(output) | {"processes": spent}


def commit(report: dict[str, Any]) -> Path:
    """Writes a fit of MNIST to `results/17-sixty-thousand-images`, from where the chapter reads it."""
    chapter = "17-sixty-thousand-images"
    stamp = provenance(book_root(), chapter, "laptop") | {
        "command": "python benchmarks/regression.py --" + ("killed" if "processes" in report else "fit"),
        "day": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    name, parameters = f"n{report['n']}", {"n": report["n"], "ridge": report["ridge"], "tol": report["tol"]}
    own = float(tangent_kernels(np.eye(1, 784), activation=stax.Erf(), sigma0=SIGMA0).total[0, 0])
    certified = own**0.5 * report["residual"] / (2 * report["ridge"] ** 0.5)
    result = report | {"sigma0": SIGMA0, "activation": "erf", "certified_prediction_error": certified}
    return write_results(
        chapter,
        series={"runs": {name: {"parameters": parameters, "result": result}}},
        provenance={"groups": [stamp | {"runs": [name]}]},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--killed", action="store_true")
    parser.add_argument("--ridge", type=float, default=1e-3, help="of --fit, in units of tr K / n")
    parser.add_argument("--tol", type=float, default=1e-6, help="relative residual of --fit")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--commit", type=Path)
    options = parser.parse_args()
    if options.commit:
        print(commit(json.loads(options.commit.read_text())))
        return
    report: dict[str, Any] = {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
    if options.memory:
        report |= memory(options.n)
    elif options.killed:
        report |= killed(options.n, options.ridge, options.tol, options.folder)
    elif options.fit:
        report |= images(options.n, options.ridge, options.tol, options.folder)
    else:
        report |= against_peers(options.n, options.repeats)
    print(json.dumps(report, indent=2, default=float))


if __name__ == "__main__":
    main()
