"""Lemmas 2–5 and Theorem 1 with every constant derived: how wide is wide enough.

The paper leaves its constants inside O(·) and Ω(·). Here each statement is a function of the data, the activation and
the width, proved line by line in the book (chapters 6 and 7), with no constant set to one.

Notation, for one neuron r: w_r, v_r and a_r are its rows of W_μ, W_σ and W_d; z = (w + v∘ζ) · x; and

    g(x) = E φ(z),   p(x) = E φ'(z),   b(x) = E[ζ∘x φ'(z)],   M_ij = p_i p_j ⟨x_i, x_j⟩ + ⟨b_i, b_j⟩,
    Θ = (1/m) Σ_r (g gᵀ ⊗ I + M_r ⊗ a_r a_rᵀ) = J Jᵀ.

The activation class is the paper's Assumption 4.2 plus boundedness: B, L and β bound φ, φ' and φ''.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Array, Num

from snn_ntk import _validation as validation
from snn_ntk.activations.constants import ActivationConstants, constants_of
from snn_ntk.kernels.one_hidden_layer import tangent_kernels

__all__ = ["DegenerateKernelError", "Setting", "setting", "setting_of"]


class DegenerateKernelError(ValueError):
    """The limiting kernel is singular, so a statement that divides by λ0 says nothing."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """Everything the bounds need to know of a data set, its limiting kernel and its activation.

    Attributes:
        n: Number of inputs.
        d: Input and output dimension.
        sigma0: Initial value σ0 of every entry of W_σ.
        lambda0: λ0, smallest eigenvalue of the limiting kernel Θ∞ (of its n × n factor, which has the same one).
        norm: Spectral norm of Θ∞.
        norm_latent: Spectral norm of Θ^(μ) + Θ^(σ) in the limit.
        Lambda_mu: Λ_μ, spectral norm of X Xᵀ, between max(1, n/d) and n.
        Lambda_sigma: Λ_σ, spectral norm of (X∘X)(X∘X)ᵀ, at most n.
        Lambda_inf: Λ_∞, sum over inputs of the largest squared coordinate, at most n.
        constants: The activation's B, L and β.

    Source: wang2024vae, Assumption 4.2; book, chapter 6.
    """

    n: int
    d: int
    sigma0: float
    lambda0: float
    norm: float
    norm_latent: float
    Lambda_mu: float
    Lambda_sigma: float
    Lambda_inf: float
    constants: ActivationConstants

    @property
    def latent(self) -> float:
        """Bound L² Λ_μ + min(σ0² β², 2L²/π) Λ_σ of a neuron's ‖M_r‖₂ at initialisation."""
        c = self.constants
        return c.L**2 * self.Lambda_mu + min((self.sigma0 * c.beta) ** 2, 2 * c.L**2 / math.pi) * self.Lambda_sigma


def setting(
    x: Num[Array | np.ndarray, "n d"],
    *,
    latent_kernel: Num[Array | np.ndarray, "n n"],
    d_kernel: Num[Array | np.ndarray, "n n"],
    sigma0: float,
    constants: ActivationConstants | str,
) -> Setting:
    """The quantities that the bounds are made of, from inputs and their limiting kernels.

    Args:
        x: Inputs of unit norm, as Theorem 1 asks, shape (n, d).
        latent_kernel: Factor of Θ^(μ) + Θ^(σ) in the limit, shape (n, n).
        d_kernel: Factor of Θ^(d) in the limit, shape (n, n).
        sigma0: Initial value σ0 of W_σ.
        constants: `ActivationConstants`, or a name in `ACTIVATION_CONSTANTS`.

    Returns:
        A `Setting`. Its λ0 is 0 where the kernel is singular to rounding. The bounds that divide by it then raise.

    Raises:
        ValueError: If the rows of `x` are not of unit norm, a kernel is not finite or not of shape (n, n), σ0 is negative or
            not finite, or the activation's constants are unknown.

    Example:
        >>> import numpy as np
        >>> x = np.eye(3)
        >>> s = setting(x, latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> s.n, round(s.lambda0, 6), s.Lambda_mu
        (3, 0.8, 1.0)

    Source: wang2024vae, Definition 1, Assumption 4.2; book, chapter 6.
    """
    x = np.asarray(validation.unit_rows(x), np.float64)
    constants = constants_of(constants)
    sigma0 = validation.non_negative(sigma0, "sigma0")
    square = (len(x), len(x))
    latent_kernel = validation.finite(validation.of_shape(latent_kernel, square, "latent_kernel"), "latent_kernel")
    d_kernel = validation.finite(validation.of_shape(d_kernel, square, "d_kernel"), "d_kernel")
    eigenvalues = np.linalg.eigvalsh(latent_kernel + d_kernel)
    # Below rounding, an eigenvalue is no evidence of being positive.
    floor = len(x) * np.finfo(np.float64).eps * eigenvalues[-1]
    return Setting(
        n=x.shape[0],
        d=x.shape[1],
        sigma0=float(sigma0),
        lambda0=float(eigenvalues[0]) if eigenvalues[0] > floor else 0.0,
        norm=float(eigenvalues[-1]),
        norm_latent=float(np.linalg.norm(latent_kernel, 2)),
        Lambda_mu=float(np.linalg.norm(x, 2) ** 2),
        Lambda_sigma=float(np.linalg.norm(x * x, 2) ** 2),
        Lambda_inf=float((x * x).max(axis=1).sum()),
        constants=constants,
    )


def setting_of(
    x: Num[Array | np.ndarray, "n d"],
    *,
    activation: Any,
    sigma0: float,
    constants: ActivationConstants | str,
) -> Setting:
    """The quantities that the bounds are made of, with the limiting kernels of the paper's network at these inputs.

    Args:
        x: Inputs of unit norm, shape (n, d).
        activation: φ, what `snn_ntk.activations.resolve` accepts.
        sigma0: Initial value σ0 of W_σ.
        constants: `ActivationConstants` of φ, or a name in `ACTIVATION_CONSTANTS`.

    Returns:
        A `Setting`, as `setting` makes it.

    Raises:
        TypeError: If the activation is unknown.
        ValueError: If the rows of `x` are not of unit norm, or the activation's constants are unknown.

    Example:
        >>> import numpy as np
        >>> from snn_ntk import stax
        >>> round(setting_of(np.eye(3), activation=stax.Erf(), sigma0=0.7, constants="erf").lambda0, 3)
        0.766

    Source: wang2024vae, Definition 1, Lemma 1; book, chapter 6.
    """
    kernels = tangent_kernels(x, activation=activation, sigma0=sigma0)
    return setting(x, latent_kernel=kernels.mu + kernels.sigma, d_kernel=kernels.d, sigma0=sigma0, constants=constants)


def positive_lambda0(s: Setting) -> float:
    """λ0, or an error where it is not positive."""
    if not s.lambda0 > 0:
        raise DegenerateKernelError(
            "expected lambda0 > 0, got a singular limiting kernel (duplicated inputs, or inputs that the activation "
            "cannot tell apart): no width satisfies the theorem, and it promises no rate"
        )
    return s.lambda0


def check_width_and_delta(m: float, delta: float) -> None:
    """An error unless 1 ≤ m < ∞ and 0 < δ < 1."""
    if not 1 <= m < math.inf:
        raise ValueError(f"expected a finite width of at least 1, got {m}")
    if not 0 < delta < 1:
        raise ValueError(f"expected 0 < delta < 1, got {delta}")


def smallest_width(enough: Callable[[float], bool]) -> float:
    """The smallest real width of at least 1, to one part in a million, from which on a condition that only improves is met."""
    high = 1.0
    while not enough(high):
        high *= 2
        if high > 1e300:
            return math.inf
    low = max(1.0, high / 2)
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
