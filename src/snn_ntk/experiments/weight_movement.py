"""The experiment of the paper's Figure 2: networks of one width trained side by side, and how far their layers move.

It is long because a run needs all of it: the training, the limit beside it, and the report.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from scipy.sparse.linalg import LinearOperator, eigsh

from snn_ntk import datasets
from snn_ntk.experiments.figure2_targets import figure2_targets
from snn_ntk.paper.figure2_limit import Figure2Kernels, figure2_limit_kernels
from snn_ntk.paper.figure2_network import Figure2Parameters, in_basis, noisy_outputs
from snn_ntk.paper.figure2_problem import (
    Figure2Problem,
    draw_figure2_problem,
    figure2_objective,
    initial_norms,
    layer_movement,
)
from snn_ntk.training.descent import gradient_descent
from snn_ntk.training.limit import limit_movement

__all__ = [
    "Trained",
    "limit_movement_of",
    "objective_edge",
    "power_steps",
    "run_weight_movement",
    "stability_edge",
    "train_figure2",
    "weight_movement_runs",
]

PHI = jnp.tanh

FROZEN = functools.partial(figure2_objective, activation=PHI)


def _fresh(params, problem, key):
    return figure2_objective(params, problem, key, activation=PHI)


class Trained(NamedTuple):
    """What is known of a few networks of one width after training.

    Attributes:
        steps: Recorded step numbers, shape (r,).
        moved: Norms ‖W(t) − W(0)‖_F of encoder, latent means, hidden layer and decoder, shape (r, seeds, 4).
        relative: The same over ‖W(0)‖_F.
        left: Squared error over the targets' squared norm, shape (r, seeds); a network without output would have 1.
        missing: What the network had to learn, Y − f(0), shape (seeds, n, outputs), float64.
        diverged: True where numbers are not finite, shape (seeds,).
        params: Weights after training, leading axis of seeds.
        problem: What was trained, likewise.
    """

    steps: np.ndarray
    moved: np.ndarray
    relative: np.ndarray
    left: np.ndarray
    missing: np.ndarray
    diverged: np.ndarray
    params: Figure2Parameters | None
    problem: Figure2Problem | None


def _outputs(params, problem):
    return noisy_outputs(params, problem.inputs, problem.noise, activation=PHI, sigma0=problem.sigma0)


def _observe(params, problem):
    missing = _outputs(params, problem) - problem.targets
    return {"moved": layer_movement(params, problem.start), "residual": jnp.sum(missing**2)}


@functools.partial(jax.jit, static_argnames=("width", "samples", "beta", "train_sigma"))
def _draw(keys, x, y, sigma0, initial_output, **choices):
    """Problems of many seeds and their first outputs."""
    one = functools.partial(
        draw_figure2_problem, x=x, y=y, activation=PHI, sigma0=sigma0, initial_output=initial_output, **choices
    )
    problem = jax.vmap(one)(keys)
    return problem, jax.vmap(lambda problem: _outputs(problem.start, problem))(problem)


def train_figure2(
    x: Float[Array, "n r"],
    targets: Float[Any, "n k"],
    *,
    width: int,
    seeds: Sequence[int],
    steps: int,
    learning_rate: float,
    record_at: Any,
    pixels: int = 784,
    sigma0: float = 0.5,
    samples: int = 2,
    noise: str = "frozen",
    beta: float = 0.0,
    initial_output: float = 1.0,
    train_sigma: bool = False,
    checkpoint: str | os.PathLike | None = None,
) -> Trained:
    """Trains networks of one width that differ in their seed, side by side, by full-batch gradient descent.

    Args:
        x: Inputs, in a basis of their span (`in_basis`), shape (n, r).
        targets: What is to be learned, shape (n, outputs).
        width: Width m of the layers.
        seeds: Whose random numbers do not depend on the other seeds that are trained along.
        steps: Of gradient descent.
        learning_rate: Rate η of the descent of L = 1/(2n) ‖f − Y‖².
        record_at: Step numbers at which movement and loss are recorded.
        pixels: Number of inputs before `in_basis`; the encoder's initial norm counts them all.
        sigma0: Scale σ0 of the noise.
        samples: Number S of noise samples that f is averaged over.
        noise: Either "frozen", the same samples throughout, or "fresh", drawn again at every step.
        beta: Weight β of the KL term.
        initial_output: Share of the random initial output that counts; 0 is a network that starts at zero.
        train_sigma: Whether the noise's scales are trained too.
        checkpoint: As in `gradient_descent`.

    Returns:
        The records, the weights, and what was trained.

    Raises:
        ValueError: If `noise` is neither "frozen" nor "fresh".

    Example:
        >>> runs = train_figure2(
        ...     jnp.eye(3), jnp.eye(3), width=8, seeds=[0, 1], steps=4, learning_rate=0.1, record_at=[0, 4], pixels=3
        ... )
        >>> runs.moved.shape, runs.missing.shape
        ((2, 2, 4), (2, 3, 3))

    Source: wang2024vae, Section 6, Figure 2.
    """
    if noise not in ("frozen", "fresh"):
        raise ValueError(f"expected noise 'frozen' or 'fresh', got {noise!r}")
    root = jax.random.key(width)
    keys = jax.vmap(lambda seed: jax.random.fold_in(root, seed))(jnp.asarray(seeds))
    problem, first = _draw(
        keys, x, jnp.asarray(targets, x.dtype), sigma0, initial_output,
        width=width, samples=samples, beta=beta or None, train_sigma=train_sigma,
    )  # fmt: skip
    norms = jax.vmap(lambda start, key: initial_norms(start, d_in=pixels, key=key))(problem.start, keys)
    run = gradient_descent(
        _fresh if noise == "fresh" else FROZEN, problem.start, learning_rate=learning_rate, steps=steps,
        record=_observe, record_at=record_at, args=problem, batched=True, checkpoint=checkpoint,
        key=jax.random.key(width + 1) if noise == "fresh" else None,
    )  # fmt: skip
    moved, residual = np.asarray(run.records["moved"]), np.asarray(run.records["residual"])
    missing = np.asarray(problem.targets - first, np.float64)
    return Trained(
        np.asarray(run.steps), moved, moved / np.asarray(norms), residual / np.sum(np.square(targets)), missing,
        run.diverged, run.params, problem,
    )  # fmt: skip


def _largest_eigenvalue(times: Callable[[Array], Array], like: Any) -> float:
    """λ_max of a symmetric map between arrays of the shape of `like`, by Lanczos iteration, to a relative error of 1e-3."""
    dtype, size = np.dtype(like.dtype), like.size
    product = lambda v: np.asarray(times(jnp.asarray(v, dtype).reshape(like.shape))).ravel()  # noqa: E731
    operator: Any = LinearOperator((size, size), matvec=product, dtype=dtype)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).standard_normal(size).astype(dtype)
    return float(eigsh(operator, k=1, which="LA", tol=1e-3, v0=start, return_eigenvectors=False)[0])  # pyright: ignore[reportArgumentType]


@jax.jit
def _kernel_times(vector, problem):
    _, push = jax.linearize(lambda params: _outputs(params, problem), problem.start)
    return push(jax.linear_transpose(push, problem.start)(vector)[0])


def stability_edge(problem: Figure2Problem) -> float:
    """The learning rate 2n/λ_max(J Jᵀ) above which descent of L = 1/(2n) ‖f − Y‖² grows, for the network at its start.

    The kernel of a finite network has n · d_out rows and is never formed: Lanczos iteration needs products with it.

    Args:
        problem: The problem of one network.

    Returns:
        The rate, whose eigenvalue has a relative error below 1e-3.

    Example:
        >>> x = jnp.eye(3)
        >>> problem = draw_figure2_problem(jax.random.key(0), x, x, width=8, activation=jnp.tanh, sigma0=0.5)
        >>> 0.1 < stability_edge(problem) < 10
        True

    Source: book, chapter 9.
    """
    outputs = jax.eval_shape(_outputs, problem.start, problem)
    return 2 * len(problem.inputs) / _largest_eigenvalue(lambda v: _kernel_times(v, problem), outputs)


@jax.jit
def _hessian_times(vector, problem):
    start, unravel = ravel_pytree(problem.start)
    slope = jax.grad(lambda flat: FROZEN(unravel(flat), problem))
    return jax.jvp(slope, (start,), (vector,))[1]


def objective_edge(problem: Figure2Problem) -> float:
    """The learning rate 2/λ_max(∇²L) above which descent of the whole objective, its KL term included, grows at the start.

    Without a KL term and with nothing left to learn it is `stability_edge`. The KL term is at its minimum at the start, and
    has m outputs an image, whatever the network has.

    Args:
        problem: The problem of one network.

    Returns:
        The rate, whose eigenvalue has a relative error below 1e-3.

    Example:
        >>> x = jnp.eye(3)
        >>> options = {"width": 8, "activation": jnp.tanh, "sigma0": 0.5}
        >>> with_kl, without = (draw_figure2_problem(jax.random.key(0), x, x, beta=b, **options) for b in (1.0, None))
        >>> objective_edge(with_kl) < objective_edge(without)
        True

    Source: book, chapter 9.
    """
    return 2 / _largest_eigenvalue(lambda v: _hessian_times(v, problem), ravel_pytree(problem.start)[0])


def limit_movement_of(
    kernels: Figure2Kernels, missing: Float[np.ndarray, "seeds n k"], steps: Any, learning_rate: float
) -> Float[np.ndarray, "r seeds layers"]:
    """How far the four layers of the infinitely wide network move, for what each network misses at its start.

    Args:
        kernels: What `figure2_limit_kernels` returns.
        missing: What the networks miss, Y − f(0), shape (seeds, n, outputs).
        steps: Numbers of steps, shape (r,).
        learning_rate: The rate η.

    Returns:
        Norms ‖ΔW_s‖_F, shape (r, seeds, 4), float64.

    Example:
        >>> limit_movement_of(Figure2Kernels(*[jnp.eye(2)] * 4), np.ones((1, 2, 1)), [0, 10], 0.1).shape
        (2, 1, 4)

    Source: book, chapter 9.
    """
    total = np.asarray(kernels.total, np.float64)
    one = lambda k, y: limit_movement(k, total, np.zeros_like(y), y, steps, learning_rate=learning_rate)  # noqa: E731
    return np.stack([[one(k, y) for y in missing] for k in kernels]).transpose(2, 1, 0)


def power_steps(steps: int) -> np.ndarray:
    """Zero, the powers of two up to `steps`, and `steps`: runs of different lengths are recorded at common steps.

    Args:
        steps: The last step number.

    Returns:
        Increasing step numbers.

    Example:
        >>> power_steps(5).tolist()
        [0, 1, 2, 4, 5]
    """
    return np.unique([0, *(2**k for k in range(int(steps).bit_length())), steps])


def run_weight_movement(*, seed: int, **settings: Any) -> dict[str, Any]:
    """One network of Figure 2: what `weight_movement_runs` returns for one seed, its other settings as there.

    Example:
        >>> run = run_weight_movement(outputs=10, targets="classes", width=8, seed=0, steps=2, n=4)
        >>> run["steps"], len(run["moved"][0]), run["diverged"]
        ([0, 1, 2], 4, False)

    Source: wang2024vae, Figure 2.
    """
    return weight_movement_runs(seeds=[seed], **settings)[0]


def weight_movement_runs(
    *,
    outputs: int,
    width: int,
    seeds: Sequence[int],
    steps: int,
    targets: str = "images",
    n: int = 128,
    learning_rate: float = 1.0,
    sigma0: float = 0.5,
    samples: int = 2,
    beta: float = 0.0,
    checkpoint: str | os.PathLike | None = None,
) -> list[dict[str, Any]]:
    """Networks of Figure 2 that differ in their seed, trained side by side in one program.

    Args:
        outputs: As in `principal_coordinates`; 784, the number of pixels, is the network as printed.
        width: Width m of the layers.
        seeds: Of weights and noise; each network is what it is alone, to rounding.
        steps: Of training.
        targets: Either "images", their principal coordinates, or "classes", the ten labels one-hot.
        n: Number of images.
        learning_rate: The rate η.
        sigma0: Scale σ0 of the noise.
        samples: Number S of frozen noise samples.
        beta: Weight β of the KL term; `limit` is the limit without it.
        checkpoint: A file that an interrupted run goes on from.

    Returns:
        For each seed what JSON can hold, namely `steps`, powers of two; `moved`, `relative` and `limit` (r, 4), the layers'
        movement, the same over their initial norms, and the infinite network's; `left` (r,), the squared error over the
        targets' squared norm; `diverged`, in which case steps that are not finite are left out; and the data's `source`.

    Raises:
        ValueError: If the targets are neither images nor classes, or classes with other than 10 outputs.

    Source: wang2024vae, Figure 2.
    """
    data = datasets.mnist(n)
    goal, images = figure2_targets(data, targets, outputs), np.asarray(data.images, np.float32)
    x = in_basis(jnp.asarray(images))
    found = train_figure2(
        x, goal, width=width, seeds=seeds, steps=steps, learning_rate=learning_rate, record_at=power_steps(steps),
        pixels=images.shape[1], sigma0=sigma0, samples=samples, beta=beta, checkpoint=checkpoint,
    )  # fmt: skip
    kernels = figure2_limit_kernels(x, activation=PHI, sigma0=sigma0, samples=samples)
    limit = limit_movement_of(kernels, found.missing, found.steps, learning_rate)
    return [_report(found, limit, i, data.source) for i in range(len(seeds))]


def _report(found: Trained, limit: np.ndarray, i: int, source: str) -> dict[str, Any]:
    """What JSON can hold of the network number `i`."""
    fine = np.isfinite(found.moved[:, i]).all(axis=1) & np.isfinite(found.left[:, i])
    kept = slice(None) if fine.all() else slice(int(fine.argmin()))
    values = {"left": found.left, "moved": found.moved, "relative": found.relative, "limit": limit}
    return {"source": source, "diverged": bool(found.diverged[i]), "steps": found.steps[kept].tolist()} | {
        key: value[kept, i].astype(float).tolist() for key, value in values.items()
    }
