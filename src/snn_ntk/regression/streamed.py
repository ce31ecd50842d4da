"""Preconditioned conjugate gradients for (K + ρ I) A = B with a kernel in float32, all right-hand sides at once.

Each column has its own ridge and its own step length, and all of them share every pass over the kernel. Passes are
made in float32, sums over columns in float64, and the residual that is reported is computed anew in float64. If K is
positive semi-definite, then with R = B − (K + ρ I) A and A* the solution,

    ‖A − A*‖ ≤ ‖R‖ / ρ,    ‖K (A − A*)‖ ≤ ‖R‖,    |k(x, X) (A − A*)| ≤ √k(x, x) ‖R‖ / (2 √ρ).

(lineax's CG is one compiled program with one step length for all columns: it cannot be interrupted and resumed, and
would read the kernel once for each ridge.)
"""

from __future__ import annotations

import time
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

from snn_ntk._files import write_arrays
from snn_ntk.regression.preconditioner import Preconditioner
from snn_ntk.regression.sharding import ShardedKernel, agreed

__all__ = ["Solution", "conjugate_gradients"]

# The residual is computed anew when it seems to have fallen by this factor: steps in float32 lose track of it.
_BETWEEN_CHECKS = 1e-3

# And after so many passes; if it has not halved in as many, the iteration has stalled.
_PATIENCE = 200


class Solution(NamedTuple):
    """What the iteration came to.

    Attributes:
        x: Solution, shape (n, k), float64.
        residual: Its residual, computed in float64, shape (n, k).
        steps: Number of passes in float32.
    """

    x: np.ndarray
    residual: np.ndarray
    steps: int


class _State(NamedTuple):
    x: np.ndarray
    residual: np.ndarray
    direction: np.ndarray
    energy: np.ndarray  # rᵀ P^{-1} r of the last step, by column
    checked: np.ndarray  # norm of the residual when it was last computed anew, by column
    check: np.ndarray  # when that was, in steps
    steps: np.ndarray


def _norms(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->j", vectors, vectors))


def _read(path: Path | None) -> _State | None:
    if path is None or not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as content:
            return _State(*(content[name] for name in _State._fields))
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"expected {path} to be a checkpoint of this solve, got another file: remove it") from error


class _Writer:
    """Writes a state when that costs at most a twentieth of the time since the last."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.last, self.cost = path, time.monotonic(), 0.0

    def write(self, state: _State, *, now: bool = False) -> None:
        begin = time.monotonic()
        if self.path is None or not (now or begin - self.last > 20 * self.cost):
            return
        write_arrays(self.path, state._asdict())
        self.last = time.monotonic()
        self.cost = self.last - begin


def conjugate_gradients(
    kernel: ShardedKernel,
    right: np.ndarray,
    ridges: np.ndarray,
    preconditioner: Preconditioner,
    *,
    tol: float,
    max_iter: int,
    checkpoint: Path | None = None,
    verbose: bool = False,
) -> Solution:
    """Solves (K + ρ_j I) a_j = b_j for every column j until ‖r_j‖ ≤ tol ‖b_j‖, or says why not.

    Args:
        kernel: K.
        right: B, shape (n, k), float64.
        ridges: ρ > 0 for each column, shape (k,).
        preconditioner: Of the same kernel.
        tol: Relative residual.
        max_iter: Most passes.
        checkpoint: File of the state, which is read if it is there; in several processes the first one writes it.
        verbose: Whether to show a bar with the time that remains.

    Returns:
        The solution and its residual.

    Raises:
        ValueError: If the kernel has an eigenvalue below −ρ, or the checkpoint is not one.

    Source: book, chapter 8.
    """
    target = tol * _norms(right)
    goal = np.log10(1 / tol)
    state = _start(right, ridges, preconditioner)
    saved = _read(checkpoint)
    state = _State(*map(agreed, state if saved is None else saved))
    writer = _Writer(checkpoint if kernel.owned.start == 0 else None)

    def decades(norms: np.ndarray) -> float:
        left = np.log10(np.max(norms / np.where(target > 0, target, 1), initial=1))
        return float(np.clip(goal - left, 0, goal))

    with tqdm(total=round(goal, 1), desc="digits", delay=5, disable=not verbose, unit="digit") as bar:
        while True:
            norms = agreed(_norms(state.residual))
            bar.update(max(0.0, round(decades(norms), 1) - bar.n))
            bar.set_postfix(passes=int(state.steps), refresh=False)
            fallen = np.all(norms <= np.maximum(target, _BETWEEN_CHECKS * state.checked))
            if fallen or state.steps - state.check >= _PATIENCE or state.steps >= max_iter:
                before = state
                state = _checked(kernel, right, ridges, preconditioner, state)
                norms = state.checked
                left = norms > target
                writer.write(state, now=True)
                ended = not left.any() or state.steps >= max_iter
                stalled = not ended and bool(np.all(norms[left] > 0.5 * before.checked[left]))
                if ended or stalled:
                    break
            state = _step(kernel, ridges, preconditioner, state, norms > target)
            writer.write(state)
    if left.any():
        _warn(norms, ridges, target, preconditioner, int(state.steps), stalled)
    return Solution(state.x, state.residual, int(state.steps))


def _start(right, ridges, preconditioner) -> _State:
    direction = preconditioner.solve(right, ridges)
    energy = np.einsum("ij,ij->j", right, direction)
    return _State(np.zeros_like(right), right.copy(), direction, energy, _norms(right), np.array(0), np.array(0))


def _step(kernel, ridges, preconditioner, state: _State, active: np.ndarray) -> _State:
    # A unit vector in float32 neither overflows nor vanishes; what is rounded off is left out of the step as well.
    size = _norms(state.direction)
    size[size == 0] = 1
    unit = (state.direction / size).astype(np.float32)
    direction = unit.astype(np.float64) * size
    seen = kernel.product(unit).astype(np.float64)
    image = seen * size + ridges * direction
    curvature = np.einsum("ij,ij->j", direction, image)
    if np.any(curvature[active] <= 0):
        worst = ridges[active][np.argmin(curvature[active])]
        raise ValueError(
            f"expected a kernel whose eigenvalues are above -{worst:.3g}, the ridge, got a direction in which it is "
            "below: a kernel kept in float32 needs a ridge well above 6e-8 of its largest eigenvalue, about "
            f"{preconditioner.values.max(initial=0):.3g}"
        )
    # What is certified holds of a kernel without eigenvalues below 0. Rounding of entries makes some as large as √n ε of
    # the largest; a hundredth of the ridge is as much of the bound.
    lowest = np.min(np.einsum("ij,ij->j", unit, seen)[active] + 0.01 * ridges[active], initial=np.inf)
    if lowest < -4 * np.finfo(np.float32).eps * len(unit) ** 0.5 * preconditioner.values.max(initial=0):
        raise ValueError(
            f"expected a positive semi-definite kernel, got a direction of curvature {lowest:.2g}: the error of "
            "conjugate gradients is not known then (solver='dense' needs no such bound)"
        )
    length = np.where(active, state.energy / np.where(active, curvature, 1), 0)
    x, residual = state.x + length * direction, state.residual - length * image
    shaped = preconditioner.solve(residual, ridges)
    energy = np.einsum("ij,ij->j", residual, shaped)
    keep = np.where(active & (state.energy > 0), energy / np.where(state.energy > 0, state.energy, 1), 0)
    return _State(x, residual, shaped + keep * direction, energy, state.checked, state.check, state.steps + 1)


def _checked(kernel, right, ridges, preconditioner, state: _State) -> _State:
    """The state with its residual computed anew in float64, and a new start where the steps had lost track of it."""
    residual = right - kernel.product(state.x) - ridges * state.x
    checked = agreed(_norms(residual))
    lost = _norms(residual - state.residual) > 0.1 * checked
    shaped = preconditioner.solve(residual, ridges)
    energy = np.einsum("ij,ij->j", residual, shaped)
    direction = np.where(lost, shaped, state.direction)
    return _State(state.x, residual, direction, energy, checked, state.steps, state.steps)


def _warn(norms, ridges, target, preconditioner, steps: int, stalled: bool) -> None:
    largest = preconditioner.values.max(initial=0)
    worst = int(np.argmax(norms / np.where(target > 0, target, 1)))
    floor = np.finfo(np.float32).eps / 2 * largest
    remedy = f"take a ridge well above {floor:.2g}, below which float32 has no digits of this kernel"
    if not stalled:
        remedy = "raise max_iter or rank"
    warnings.warn(
        f"conjugate gradients {'stalled' if stalled else 'ended'} after {steps} passes at a residual of "
        f"{norms[worst]:.2g}, expected {target[worst]:.2g}: the condition number is about "
        f"{largest / ridges[worst] + 1:.2g}; {remedy}, or solve in float64 (solver='dense')",
        ConvergenceWarning,
        stacklevel=4,
    )
