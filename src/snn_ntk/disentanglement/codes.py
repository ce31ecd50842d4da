"""What the scores of disentanglement share: checks of codes and factors, sampling of factors, and active latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from snn_ntk import _validation as validation

__all__ = ["Sampler", "active_latents"]

CHUNK = 16_000  # rows that are encoded at a time


@runtime_checkable
class Sampler(Protocol):
    """What `beta_vae` and `factor_vae` need of the data; a `snn_ntk.datasets.FactorDataset` is one.

    Attributes:
        factor_sizes: Number of levels of each factor.
    """

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of levels of each factor."""
        ...

    def sample_factors(self, rng: np.random.Generator, n: int) -> Int[np.ndarray, "n k"]:
        """Draws of the factors.

        Args:
            rng: Random numbers.
            n: Number of draws.

        Returns:
            Integer levels, shape (n, number of factors).
        """
        ...


def checked_codes(codes: Any, name: str = "codes") -> Float[np.ndarray, "n latent"]:
    """Codes in float64, or an error that says what is wrong with them."""
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.size == 0 or codes.dtype.kind not in "fiu":
        raise ValueError(f"expected {name} as real numbers of shape (N, latent), got {codes.dtype} of {codes.shape}")
    codes = validation.finite(codes, name)
    if (largest := abs(codes).max()) > np.finfo(np.float32).max:  # squares of larger ones would overflow
        raise ValueError(f"expected {name} within single precision, at most 3.4e+38, got {largest:.2g}")
    return codes


def checked_pair(codes: Any, factors: Any, suffix: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Codes as `checked_codes` gives them, and one row of integer factors for each."""
    codes, factors = checked_codes(codes, f"codes{suffix}"), np.asarray(factors)
    if factors.ndim != 2 or factors.shape[0] != len(codes) or factors.dtype.kind not in "iub":
        raise ValueError(
            f"expected factors{suffix} as integers of shape ({len(codes)}, number of factors) like codes{suffix}, "
            f"got {factors.dtype} of {factors.shape}"
        )
    return codes, factors


def levels_of(factors: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """For each factor that varies: its column, its levels, and each row's place among them."""
    found = [(k, *np.unique(factors[:, k], return_inverse=True)) for k in range(factors.shape[1])]
    varying = [(k, levels, place) for k, levels, place in found if len(levels) > 1]
    if not varying:
        raise ValueError(f"expected a factor of at least two levels, got {factors.shape[1]} of one level")
    return varying


def checked_split(
    codes: Any, factors: Any, codes_test: Any, factors_test: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two pairs as `checked_pair` gives them, with equal numbers of latents and of factors."""
    codes, factors = checked_pair(codes, factors)
    codes_test, factors_test = checked_pair(codes_test, factors_test, "_test")
    if codes_test.shape[1] != codes.shape[1] or factors_test.shape[1] != factors.shape[1]:
        raise ValueError(
            f"expected a test set of {codes.shape[1]} latents and {factors.shape[1]} factors like the training set, "
            f"got {codes_test.shape[1]} and {factors_test.shape[1]}"
        )
    return codes, factors, codes_test, factors_test


def at_least_two_latents(codes: Any) -> None:
    """Raises an error if there is one latent only."""
    if np.shape(codes)[1] < 2:
        raise ValueError("expected at least two latents, whose difference is the score, got 1")


def active_latents(codes: Any, *, threshold: float = 0.01) -> Bool[np.ndarray, " latent"]:
    """Which latent coordinates the encoder uses: those with Var_x E[z_j | x] > threshold.

    Args:
        codes: Means of the encoder, shape (N, latent).
        threshold: On the variance over the data, where the prior has variance 1.

    Returns:
        A mask of shape (latent,); its mean is the share of active latents.

    Raises:
        TypeError: If `threshold` is not a number.
        ValueError: If codes are not finite real numbers of that shape, or `threshold` is negative or not finite.

    Example:
        >>> import numpy as np
        >>> active_latents(np.array([[0.0, 0.5, 1.0], [0.1, 0.5, -1.0]])).tolist()
        [False, False, True]

    Source: burda2016importance, Section 5.2.
    """
    return checked_codes(codes).var(axis=0) > validation.non_negative(threshold, "threshold")


def encoded(encode: Callable[[np.ndarray], np.ndarray], factors: np.ndarray) -> np.ndarray:
    """The codes of factors, checked."""
    codes = checked_codes(encode(factors), "codes from encode")
    if len(codes) != len(factors):
        raise ValueError(f"expected {len(factors)} codes from encode, one for each row of factors, got {len(codes)}")
    return codes


def varying_factors(sampler: Sampler) -> np.ndarray:
    """Numbers of the factors that take more than one level, of which there are two at least."""
    if not isinstance(sampler, Sampler):
        raise TypeError(
            "expected data on a grid of factors, from which factors can be drawn, such as a FactorDataset, "
            f"got {type(sampler).__name__}"
        )
    varying = np.flatnonzero(np.array(sampler.factor_sizes) > 1)
    if len(varying) < 2:
        raise ValueError(f"expected at least two factors that vary, got sizes {sampler.factor_sizes}")
    return varying


def check_counts(**counts: int) -> None:
    """Raises an error if a count is not an integer, or below two."""
    for name, count in counts.items():
        if validation.positive_integer(count, name) < 2:
            raise ValueError(f"expected {name} of at least 2, got {count}")


def parts_of(chosen: np.ndarray, rows_each: int) -> list[np.ndarray]:
    """The points in parts whose rows are encoded at a time; all but the last part are of one size."""
    size = max(CHUNK // rows_each, 1)
    return [chosen[start : start + size] for start in range(0, len(chosen), size)]
