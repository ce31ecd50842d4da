"""What one run of Figure 2 trains: targets, noise and objective, and how far its layers move."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk.paper.figure2_network import Figure2Parameters, init_figure2, kl_to_start, latent_law, noisy_outputs

__all__ = ["Figure2Problem", "draw_figure2_problem", "figure2_objective", "initial_norms", "layer_movement"]


class Figure2Problem(NamedTuple):
    """What one run of Figure 2 is about; `gradient_descent` takes it as `args`, a batch of them for many seeds.

    Attributes:
        start: The weights before training.
        inputs: Inputs, shape (n, d_in).
        targets: Targets, shape (n, d_out).
        noise: Frozen noise, shape (S, n, m); None for none.
        sigma0: Noise level σ0.
        beta: Weight β of the KL term.
        law: `latent_law` before training, for the KL term; None without one.

    Source: wang2024vae, Section 6, Figure 2; book, chapter 9.
    """

    start: Figure2Parameters
    inputs: Float[Array, "*b n d_in"]
    targets: Float[Array, "*b n d_out"]
    noise: Float[Array, "*b S n m"] | None
    sigma0: Float[Array, "*b"]
    beta: Float[Array, "*b"]
    law: tuple[Float[Array, "*b n m"], Float[Array, "*b n _"]] | None


def draw_figure2_problem(
    key: Array,
    x: Num[Array, "n d"],
    y: Num[Array, "n d_out"],
    *,
    width: int,
    activation: Any,
    sigma0: float | Float[Array, ""],
    samples: int = 1,
    beta: float | None = None,
    initial_output: float | Float[Array, ""] = 1.0,
    train_sigma: bool = False,
) -> Figure2Problem:
    """Weights, noise and targets of one run.

    Args:
        key: Random key; `jax.vmap` over keys makes a batch of runs.
        x: Inputs, shape (n, d_in).
        y: What the network is to learn, shape (n, d_out).
        width: Width m.
        activation: φ, what `snn_ntk.activations.resolve` accepts.
        sigma0: Noise level σ0.
        samples: Number S of noise samples.
        beta: Weight β of the KL term; None leaves the term out.
        initial_output: How much of the random initial output counts. With 1 the network is trained as it is drawn.
            With 0 its change f(t) − f(0) is trained: the network that starts at zero.
        train_sigma: Whether W_σ is trained too.

    Returns:
        The run's `Figure2Problem`.

    Raises:
        ValueError: If there are not as many targets as inputs.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.eye(3)
        >>> options = {"width": 8, "activation": jnp.tanh, "sigma0": 0.5, "samples": 2}
        >>> draw_figure2_problem(jax.random.key(0), x, x, **options).noise.shape
        (2, 3, 8)

    Source: wang2024vae, Section 6, Figure 2; book, chapter 9.
    """
    x, y = validation.floats(x), validation.of_shape(y, (len(x), y.shape[-1]), "y")
    weights, noisy = jax.random.split(key)
    start = init_figure2(weights, width, x.shape[1], y.shape[1], train_sigma=sigma0 if train_sigma else None)
    noise = jax.random.normal(noisy, (samples, len(x), width), x.dtype)
    first = noisy_outputs(start, x, noise, activation=activation, sigma0=sigma0)
    law = None if beta is None else latent_law(start, x, activation=activation, sigma0=sigma0)
    numbers = jnp.asarray(sigma0, x.dtype), jnp.asarray(beta or 0.0, x.dtype)
    return Figure2Problem(start, x, y + (1 - initial_output) * first, noise, *numbers, law)


def figure2_objective(
    params: Figure2Parameters,
    problem: Figure2Problem,
    key: Array | None = None,
    *,
    activation: Any,
) -> Float[Array, ""]:
    """The paper's objective for the deep network, L = 1/(2n) ‖f_S(X) − Y‖_F² + (β/n) Σ_i KL_i.

    Args:
        params: Weights.
        problem: Targets, noise and constants.
        key: If given, noise of the problem's shape is drawn afresh from it instead of the frozen one.
        activation: φ, what `snn_ntk.activations.resolve` accepts.

    Returns:
        The loss, a scalar.

    Raises:
        ValueError: If the targets are not of the outputs' shape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.eye(3)
        >>> options = {"width": 8, "activation": jnp.tanh, "sigma0": 0.5, "initial_output": 0.0}
        >>> problem = draw_figure2_problem(jax.random.key(0), x, x, **options)
        >>> round(float(figure2_objective(problem.start, problem, activation=jnp.tanh)), 4)
        0.5

    Source: wang2024vae, Eq. 4, Eq. 7; book, chapter 9.
    """
    x = problem.inputs
    noise = problem.noise
    if key is not None and noise is not None:
        noise = jax.random.normal(key, noise.shape, noise.dtype)
    f = noisy_outputs(params, x, noise, activation=activation, sigma0=problem.sigma0)
    loss = jnp.sum((f - validation.of_shape(problem.targets, f.shape, "targets")) ** 2) / (2 * len(x))
    if problem.law is None:
        return loss
    law = latent_law(params, x, activation=activation, sigma0=problem.sigma0)
    return loss + problem.beta * kl_to_start(law, problem.law)


def layer_movement(params: Figure2Parameters, start: Figure2Parameters) -> Float[Array, " layers"]:
    """‖W(t) − W(0)‖_F of encoder, latent means, hidden layer and decoder, the numerators of Figure 2.

    Args:
        params: Weights now.
        start: Weights before training.

    Returns:
        Norms, shape (4,).

    Raises:
        ValueError: If the encoder has more rows than `d_in`.

    Example:
        >>> import jax
        >>> params = init_figure2(jax.random.key(0), 4, 3, 2)
        >>> layer_movement(params, params).tolist()
        [0.0, 0.0, 0.0, 0.0]

    Source: wang2024vae, Figure 2; book, chapter 9.
    """
    return jnp.stack([jnp.linalg.norm(a - b) for a, b in zip(params[:4], start[:4], strict=True)])


def initial_norms(start: Figure2Parameters, *, d_in: int, key: Array) -> Float[Array, " layers"]:
    """‖W(0)‖_F of the four layers, the denominators of Figure 2, the part that `in_basis` left out included.

    Args:
        start: Weights before training, whose encoder may have fewer rows than `d_in`.
        d_in: The number of inputs before `in_basis`.
        key: Random key of the squared norm of the rows left out, chi-square with one degree of freedom an entry.

    Returns:
        Norms, shape (4,).

    Raises:
        ValueError: If the encoder has more rows than `d_in`.

    Example:
        >>> import jax
        >>> start = init_figure2(jax.random.key(0), 100, 10, 5)
        >>> norms = initial_norms(start, d_in=784, key=jax.random.key(1))
        >>> bool(abs(norms[0] ** 2 / 78_400 - 1) < 0.05)
        True

    Source: wang2024vae, Figure 2; book, chapter 9.
    """
    squares = _squared_norms(start)
    if d_in < start.encoder.shape[0]:
        raise ValueError(f"expected d_in of at least the encoder's {start.encoder.shape[0]} rows, got {d_in}")
    left_out = (d_in - start.encoder.shape[0]) * start.encoder.shape[1]
    return jnp.sqrt(squares.at[0].add(_chi_square(key, left_out))) if left_out else jnp.sqrt(squares)


@jax.jit
def _squared_norms(start):
    return jnp.stack([jnp.sum(w**2) for w in start[:4]])


@jax.jit  # one program for all widths: a gamma number is slow to compile
def _chi_square(key, freedom):
    return 2 * jax.random.gamma(key, freedom / 2)
