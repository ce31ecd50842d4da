"""The tangent kernels of two-layer ReLU networks in closed form."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision

__all__ = ["first_layer_gram", "kappa0", "kappa1", "relu_ntk", "relu_ntk_profile"]


def kappa0(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Arc-cosine kernel of degree 0, the probability that a random half-space holds neither or both points.

    κ0(u) = (π − arccos u)/π = 2 E[1{w·x ≥ 0} 1{w·x' ≥ 0}], u = cos∠(x, x').

    Args:
        u: Cosines, any shape; values beyond [−1, 1] by rounding are clipped.

    Returns:
        κ0(u), shape of ``u``.

    Example:
        >>> import jax.numpy as jnp
        >>> float(kappa0(jnp.asarray(0.0)))
        0.5

    Source: lecture, slide "2-layer ReLU networks"; cho2009kernel.
    """
    return 1 - jnp.arccos(jnp.clip(u, -1, 1)) / jnp.pi


def kappa1(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Arc-cosine kernel of degree 1, the kernel of the trained output layer.

    κ1(u) = (u (π − arccos u) + √(1 − u²))/π = 2 E[(w·x)₊ (w·x')₊] for unit x, x'.

    Args:
        u: Cosines, any shape; values beyond [−1, 1] by rounding are clipped.

    Returns:
        κ1(u), shape of ``u``.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(kappa1(jnp.asarray(0.0))), 4)
        0.3183

    Source: lecture, slide "2-layer ReLU networks"; cho2009kernel.
    """
    u = jnp.clip(u, -1, 1)
    return u * kappa0(u) + jnp.sqrt(1 - u**2) / jnp.pi


def relu_ntk_profile(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Both layers' kernel on the sphere as a function of the cosine, u κ0(u) + κ1(u).

    Args:
        u: Cosines, any shape.

    Returns:
        u κ0(u) + κ1(u), which the lecture calls κ(u), shape of ``u``.

    Example:
        >>> import jax.numpy as jnp
        >>> float(relu_ntk_profile(jnp.asarray(1.0)))
        2.0

    Source: lecture, slide "2-layer ReLU networks"; bietti2019inductive, Section 2.2.
    """
    return u * kappa0(u) + kappa1(u)


def snapped(rho: Array) -> Array:
    """Cosines, those within rounding of ±1 taken to be ±1.

    κ0 turns an error ε there into √ε: so equal and opposite inputs keep the exact ranks of their Gram matrices.
    """
    return jnp.where(1.0 - jnp.abs(rho) < 8 * jnp.finfo(rho.dtype).eps, jnp.sign(rho), rho)


@full_precision
def cosines(x1: Array, x2: Array) -> tuple[Array, Array]:
    """Products of norms and cosines of all pairs of rows."""
    if x1.shape[-1] != x2.shape[-1]:
        raise ValueError(f"expected inputs of equal dimension, got {x1.shape} and {x2.shape}")
    x1, x2 = validation.floats(x1), validation.floats(x2)
    norms = jnp.linalg.norm(x1, axis=-1)[:, None] * jnp.linalg.norm(x2, axis=-1)[None, :]
    return norms, snapped(x1 @ x2.T / jnp.where(norms == 0, 1, norms))


def relu_ntk(x1: Num[Array, "n1 d"], x2: Num[Array, "n2 d"] | None = None) -> Float[Array, "n1 n2"]:
    """Tangent kernel of f(x) = √(2/m) Σⱼ vⱼ (wⱼ·x)₊ with both layers trained, in the limit of infinite width.

    K(x, x') = ‖x‖ ‖x'‖ (u κ0(u) + κ1(u)), u = ⟨x, x'⟩ / ‖x‖‖x'‖.

    Args:
        x1: Inputs, shape (n1, d).
        x2: Further inputs, shape (n2, d); ``x1`` again if left out.

    Returns:
        The matrix of K, shape (n1, n2).

    Raises:
        ValueError: If the dimensions differ.

    Example:
        >>> import jax.numpy as jnp
        >>> relu_ntk(jnp.eye(2))[0].round(2).tolist() == [2.0, jnp.float32(0.32)]
        True

    Source: lecture, slide "2-layer ReLU networks".
    """
    norms, u = cosines(x1, x1 if x2 is None else x2)
    return norms * relu_ntk_profile(u)


def first_layer_gram(x1: Num[Array, "n1 d"], x2: Num[Array, "n2 d"] | None = None) -> Float[Array, "n1 n2"]:
    """Gram matrix H∞ of f(x) = (1/√m) Σ a_r (w_r·x)₊, a_r = ±1, with the first layer alone trained.

    H∞(x, x') = E[⟨x, x'⟩ 1{w·x ≥ 0, w·x' ≥ 0}] = ⟨x, x'⟩ (π − arccos cos∠(x, x')) / 2π.

    Args:
        x1: Inputs, shape (n1, d).
        x2: Further inputs, shape (n2, d); ``x1`` again if left out.

    Returns:
        The matrix of H∞, shape (n1, n2); its diagonal is ‖x‖²/2, so no unit-norm data set has a smallest eigenvalue
        above 1/2.

    Raises:
        ValueError: If the dimensions differ.

    Example:
        >>> import jax.numpy as jnp
        >>> first_layer_gram(jnp.eye(2)).tolist()
        [[0.5, 0.0], [0.0, 0.5]]

    Source: lecture, slide "Natural Gradient Descent" (G∞), slide "Setup" (H∞), Proposition 3.6; arora2019fine, Eq. 6.
    """
    norms, u = cosines(x1, x1 if x2 is None else x2)
    return norms * u * kappa0(u) / 2
