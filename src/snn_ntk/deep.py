"""The network of the paper's Figure 2: encoder, stochastic latent layer, hidden layer and decoder, all of them trained.

    z1 = W_enc x,  z2 = (1/√m) (W_μ + W_σ∘ζ) φ(z1),  z3 = (1/√m) W_hid φ(z2),  f = (1/√m) W_dec φ(z3),

Eq. 2 with a layer before and one behind it. Matrices are stored (inputs, outputs), as a product from the right needs them.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .duals import resolve
from .objectives import gaussian_kl

__all__ = [
    "DeepKernels",
    "DeepParameters",
    "Problem",
    "deep_objective",
    "draw_problem",
    "in_basis",
    "init_deep",
    "initial_norms",
    "kl_to_start",
    "latent_law",
    "limit_kernels",
    "movement",
    "noisy_outputs",
]


class DeepParameters(NamedTuple):
    """Weights of the network, (inputs, outputs) each.

    Attributes:
        encoder: (d_in, m).
        mu: (m, m), means of the latent layer.
        hidden: (m, m).
        decoder: (m, d_out).
        sigma: (m, m), scales of the latent layer's noise; None if all are σ0 and stay there.
    """

    encoder: Float[Array, "*b d_in m"]
    mu: Float[Array, "*b m m"]
    hidden: Float[Array, "*b m m"]
    decoder: Float[Array, "*b m d_out"]
    sigma: Float[Array, "*b m m"] | None = None


class DeepKernels(NamedTuple):
    """The (n, n) factors of the tangent kernels of the four layers."""

    encoder: Float[Array, "n n"]
    mu: Float[Array, "n n"]
    hidden: Float[Array, "n n"]
    decoder: Float[Array, "n n"]

    @property
    def total(self) -> Float[Array, "n n"]:
        """The tangent kernel of the whole network."""
        return self.encoder + self.mu + self.hidden + self.decoder


def init_deep(
    key: Array, width: int, d_in: int, d_out: int, *, train_sigma: float | Array | None = None
) -> DeepParameters:
    """Standard normal weights, the initialisation of the NTK parameterisation.

    Args:
        key: of the random numbers.
        width: m, of all three hidden layers.
        d_in: inputs.
        d_out: outputs.
        train_sigma: σ0, if the scales of the noise are to be trained too.

    Returns:
        Weights, float32 unless double precision is on.

    Raises:
        ValueError: if a size is less than 1.

    Example:
        >>> import jax
        >>> init_deep(jax.random.key(0), 4, 3, 2).decoder.shape
        (4, 2)

    Source:
        Section 6 of the paper.
    """
    if min(width, d_in, d_out) < 1:
        raise ValueError(f"expected sizes of at least 1, got width {width}, d_in {d_in}, d_out {d_out}")
    shapes = ((d_in, width), (width, width), (width, width), (width, d_out))
    keys = jax.random.split(key, 4)
    sigma = None if train_sigma is None else jnp.full((width, width), train_sigma)
    encoder, latent, hidden, decoder = (jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True))
    return DeepParameters(encoder, latent, hidden, decoder, sigma)


def in_basis(x: Float[Array, "n d"]) -> Float[Array, "n r"]:
    """The inputs in an orthonormal basis of their span, so that the first layer has n rows instead of d.

    Every gradient of the encoder is a combination of inputs, so W_enc moves only within their span, and a standard
    normal matrix is one in any orthonormal basis: nothing that is computed from x changes its law, and ‖ΔW_enc‖_F is
    the same number. What is left out of ‖W_enc(0)‖_F is a chi-square number, which `initial_norms` adds again.

    Args:
        x: (n, d) inputs.

    Returns:
        (n, min(n, d)) coordinates, with the inner products of x; x itself if n ≥ d.

    Example:
        >>> import jax.numpy as jnp
        >>> in_basis(jnp.array([[3.0, 4.0, 0.0]])).tolist()
        [[5.0]]
    """
    if len(x) >= x.shape[1]:
        return x
    triangle = np.linalg.qr(np.asarray(x, np.float64).T)[1]
    return jnp.asarray((triangle * np.sign(np.diagonal(triangle))[:, None]).T, x.dtype)


def latent_law(
    params: DeepParameters, x: Float[Array, "n d"], *, activation: Any, sigma0: float | Float[Array, ""]
) -> tuple[Float[Array, "n m"], Float[Array, "n _"]]:
    """Mean and standard deviation of the latent pre-activations, n · m independent normal numbers given the weights.

    Args:
        params: weights.
        x: (n, d_in) inputs.
        activation: φ.
        sigma0: σ0; without effect if `params.sigma` is trained.

    Returns:
        Mean (n, m), and standard deviation (n, m), or (n, 1) if all scales are equal.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params = init_deep(jax.random.key(0), 8, 2, 1)
        >>> mean, deviation = latent_law(params, jnp.ones((3, 2)), activation=jnp.tanh, sigma0=0.5)
        >>> mean.shape, deviation.shape
        ((3, 8), (3, 1))

    Source:
        Equation 2 of the paper, with the variance that its Equation 3 has.
    """
    m = params.mu.shape[0]
    h = resolve(activation).phi(x @ params.encoder)
    mean = h @ params.mu / np.sqrt(m)
    if params.sigma is None:
        return mean, sigma0 * jnp.sqrt(jnp.mean(h**2, axis=1, keepdims=True))
    return mean, jnp.sqrt(h**2 @ params.sigma**2 / m)


def noisy_outputs(
    params: DeepParameters,
    x: Float[Array, "n d"],
    noise: Float[Array, "S _ _"] | None,
    *,
    activation: Any,
    sigma0: float | Float[Array, ""] = 0.0,
) -> Float[Array, "n d_out"]:
    """Outputs averaged over S samples of the latent noise: f̂ as S → ∞, one draw of f for S = 1.

    Args:
        params: weights.
        x: (n, d_in) inputs.
        noise: (S, n, m) standard normal numbers, one for each sample, input and latent neuron; None for no noise.
        activation: φ.
        sigma0: σ0; without effect if `params.sigma` is trained.

    Returns:
        (n, d_out).

    Raises:
        ValueError: if the noise does not fit inputs and width.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params = init_deep(jax.random.key(0), 8, 2, 1)
        >>> noise = jax.random.normal(jax.random.key(1), (5, 3, 8))
        >>> noisy_outputs(params, jnp.ones((3, 2)), noise, activation=jnp.tanh, sigma0=0.5).shape
        (3, 1)

    Source:
        Equations 2 and 3 of the paper.
    """
    phi, m = resolve(activation).phi, params.mu.shape[0]
    mean, deviation = latent_law(params, x, activation=activation, sigma0=sigma0)
    if noise is None:
        h = phi(phi(mean) @ params.hidden / np.sqrt(m))
        return h @ params.decoder / np.sqrt(m)
    if noise.ndim != 3 or noise.shape[1:] != mean.shape:
        raise ValueError(f"expected noise of shape (S, {mean.shape[0]}, {mean.shape[1]}), got {noise.shape}")
    z = mean + deviation * noise
    # One tall product for all samples; the decoder is linear, so it acts on the average.
    h = phi(phi(z).reshape(-1, m) @ params.hidden / np.sqrt(m)).reshape(z.shape)
    return h.mean(axis=0) @ params.decoder / np.sqrt(m)


def kl_to_start(
    law: tuple[Float[Array, "n m"], Float[Array, "n _"]],
    start: tuple[Float[Array, "n m"], Float[Array, "n _"]],
) -> Float[Array, ""]:
    """The KL term of Eq. 4, mean over inputs of KL(P(z(t)) ‖ P(z(0))), from two results of `latent_law`.

    Args:
        law: mean and standard deviation now.
        start: both before training.

    Returns:
        The divergence, a scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> one = jnp.ones((2, 3))
        >>> float(kl_to_start((2 * one, one), (one, one)))
        1.5

    Source:
        Equation 4 of the paper.
    """
    (mean, deviation), (mean0, deviation0) = law, start
    variance, variance0 = (jnp.broadcast_to(d**2, mean.shape) for d in (deviation, deviation0))
    return jnp.sum(gaussian_kl(mean, variance, mean0, variance0)) / len(mean)


class Problem(NamedTuple):
    """What one run of Figure 2 is about; `gradient_descent` takes it as `args`, a batch of them for many seeds.

    Attributes:
        start: the weights before training.
        inputs: (n, d_in) inputs.
        targets: (n, d_out) targets.
        noise: (S, n, m) frozen noise; None for none.
        sigma0: σ0.
        beta: β, the weight of the KL term.
        law: `latent_law` before training, for the KL term; None without one.
    """

    start: DeepParameters
    inputs: Float[Array, "*b n d_in"]
    targets: Float[Array, "*b n d_out"]
    noise: Float[Array, "*b S n m"] | None
    sigma0: Float[Array, "*b"]
    beta: Float[Array, "*b"]
    law: tuple[Float[Array, "*b n m"], Float[Array, "*b n _"]] | None


def draw_problem(
    key: Array,
    x: Float[Array, "n d"],
    y: Float[Array, "n d_out"],
    *,
    width: int,
    activation: Any,
    sigma0: float | Float[Array, ""],
    samples: int = 1,
    beta: float | None = None,
    initial_output: float | Float[Array, ""] = 1.0,
    train_sigma: bool = False,
) -> Problem:
    """Weights, noise and targets of one run.

    Args:
        key: of all random numbers; `jax.vmap` over keys makes a batch of runs.
        x: (n, d_in) inputs.
        y: (n, d_out) what the network is to learn.
        width: m.
        activation: φ.
        sigma0: σ0.
        samples: S.
        beta: β; None leaves the KL term out.
        initial_output: how much of the random initial output counts. With 1 the network is trained as it is drawn.
            With 0 its change f(t) − f(0) is trained: the network that starts at zero.
        train_sigma: whether W_σ is trained too.

    Returns:
        The run's `Problem`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.eye(3)
        >>> draw_problem(jax.random.key(0), x, x, width=8, activation=jnp.tanh, sigma0=0.5, samples=2).noise.shape
        (2, 3, 8)
    """
    weights, noisy = jax.random.split(key)
    start = init_deep(weights, width, x.shape[1], y.shape[1], train_sigma=sigma0 if train_sigma else None)
    noise = jax.random.normal(noisy, (samples, len(x), width), x.dtype)
    first = noisy_outputs(start, x, noise, activation=activation, sigma0=sigma0)
    law = None if beta is None else latent_law(start, x, activation=activation, sigma0=sigma0)
    numbers = jnp.asarray(sigma0, x.dtype), jnp.asarray(beta or 0.0, x.dtype)
    return Problem(start, x, y + (1 - initial_output) * first, noise, *numbers, law)


def deep_objective(
    params: DeepParameters,
    problem: Problem,
    key: Array | None = None,
    *,
    activation: Any,
) -> Float[Array, ""]:
    """The paper's objective for the deep network, L = 1/(2n) ‖f_S(X) − Y‖_F² + β/n Σ_i KL_i.

    Args:
        params: weights.
        problem: targets, noise and constants.
        key: if given, noise of the problem's shape is drawn afresh from it instead of the frozen one.
        activation: φ.

    Returns:
        The loss, a scalar.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.eye(3)
        >>> options = {"width": 8, "activation": jnp.tanh, "sigma0": 0.5, "initial_output": 0.0}
        >>> problem = draw_problem(jax.random.key(0), x, x, **options)
        >>> round(float(deep_objective(problem.start, problem, activation=jnp.tanh)), 4)
        0.5

    Source:
        Equations 4 and 7 of the paper.
    """
    x = problem.inputs
    noise = problem.noise
    if key is not None and noise is not None:
        noise = jax.random.normal(key, noise.shape, x.dtype)
    f = noisy_outputs(params, x, noise, activation=activation, sigma0=problem.sigma0)
    loss = jnp.sum((f - problem.targets) ** 2) / (2 * len(x))
    if problem.law is None:
        return loss
    law = latent_law(params, x, activation=activation, sigma0=problem.sigma0)
    return loss + problem.beta * kl_to_start(law, problem.law)


def movement(params: DeepParameters, start: DeepParameters) -> Float[Array, " layers"]:
    """‖W(t) − W(0)‖_F of encoder, latent means, hidden layer and decoder, the numerators of Figure 2.

    Args:
        params: weights now.
        start: weights before training.

    Returns:
        (4,).

    Example:
        >>> import jax
        >>> params = init_deep(jax.random.key(0), 4, 3, 2)
        >>> movement(params, params).tolist()
        [0.0, 0.0, 0.0, 0.0]

    Source:
        Figure 2 of the paper.
    """
    return jnp.stack([jnp.linalg.norm(a - b) for a, b in zip(params[:4], start[:4], strict=True)])


def initial_norms(start: DeepParameters, *, d_in: int, key: Array) -> Float[Array, " layers"]:
    """‖W(0)‖_F of the four layers, the denominators of Figure 2, the part that `in_basis` left out included.

    Args:
        start: weights before training, whose encoder may have fewer rows than d_in.
        d_in: the number of inputs before `in_basis`.
        key: draws the squared norm of the rows left out, chi-square with one degree of freedom an entry.

    Returns:
        (4,).

    Example:
        >>> import jax
        >>> start = init_deep(jax.random.key(0), 100, 10, 5)
        >>> norms = initial_norms(start, d_in=784, key=jax.random.key(1))
        >>> bool(abs(norms[0] ** 2 / 78_400 - 1) < 0.05)
        True

    Source:
        Figure 2 of the paper.
    """
    squares = jnp.stack([jnp.sum(w**2) for w in start[:4]])
    left_out = (d_in - start.encoder.shape[0]) * start.encoder.shape[1]
    extra = 2 * jax.random.gamma(key, left_out / 2) if left_out else 0.0
    return jnp.sqrt(squares.at[0].add(extra))


def limit_kernels(
    x: Float[Array, "n d"], *, activation: Any, sigma0: float = 0.0, samples: int | None = None
) -> DeepKernels:
    """The tangent kernels of the four layers as m → ∞.

    With c1 = ⟨x, x'⟩, c2 = κ(c1), c3 = κ(c2), c4 = κ(c3), variances q1 = ‖x‖², q2 = (1 + σ0²) κ(q1), q3 = κ(q2),

        Θ^(dec) = c4,  Θ^(hid) = c3 κ'(c3),  Θ^(μ) = c2 κ'(c2) κ'(c3),  Θ^(enc) = c1 κ'(c1) κ'(c2) κ'(c3).

    Two gradients of f̂ carry independent noise, so c2 of an input with itself is not inflated. In an average over S frozen
    samples one pair in S shares its noise, and the diagonals are mixed with those of the shared-noise kernels.

    Args:
        x: (n, d) inputs.
        activation: φ.
        sigma0: σ0.
        samples: S, if the noise is averaged over that many frozen samples, drawn afresh for every input; None for f̂.

    Returns:
        The four kernels.

    Raises:
        ValueError: if `samples` is less than 1.

    Example:
        >>> import jax.numpy as jnp
        >>> kernels = limit_kernels(jnp.eye(2), activation=lambda z: z)
        >>> [float(k[0, 0].round(4)) for k in kernels]
        [1.0, 1.0, 1.0, 1.0]

    Source:
        Chapter 9 of the book derives it from the paper's Lemma 1.
    """
    if samples is not None and samples < 1:
        raise ValueError(f"expected samples >= 1, got {samples}")
    activation = resolve(activation)

    def layers(c1, q1, q1b, shared):
        # q1b is q1 along the other axis; variances follow the recursion c = q.
        inner, d1 = _pair(activation, c1, q1, q1b)  # inner = ⟨h, h'⟩/m, the factor of ∂z2/∂W_μ
        inflation = 1 + sigma0**2
        q2 = inflation * _pair(activation, q1, q1, q1)[0]
        q2b = q2.reshape(q1b.shape)
        c3, d2 = _pair(activation, inflation * inner if shared else inner, q2, q2b)
        q3 = _pair(activation, q2, q2, q2)[0]
        c4, d3 = _pair(activation, c3, q3, q3.reshape(q1b.shape))
        return DeepKernels(c1 * d1 * d2 * d3, inner * d2 * d3, c3 * d3, c4)

    q = jnp.sum(x**2, axis=1, keepdims=True)
    kernels = layers(x @ x.T, q, q.T, shared=False)
    if samples is None:
        return kernels
    shared = layers(q, q, q, shared=True)
    return DeepKernels(
        *(k + jnp.diag((s[:, 0] - jnp.diagonal(k)) / samples) for k, s in zip(kernels, shared, strict=True))
    )


@partial(jax.jit, static_argnums=0)
def _pair(activation, c, q1, q2):
    # Compiled by itself: one program for all pairs and one for all variances, instead of one for the recursion.
    return activation.derivatives(c, q1, q2)[:2]
