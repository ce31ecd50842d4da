"""Scores from mutual information: MIG and modularity."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from snn_ntk import _validation as validation
from snn_ntk.disentanglement.codes import at_least_two_latents, checked_pair, levels_of

__all__ = ["mig", "modularity", "mutual_information"]


def mutual_information(
    codes: Any, factors: Any, *, bins: int = 20
) -> tuple[Float[np.ndarray, "latent varying"], Float[np.ndarray, " varying"]]:
    """Mutual information I(z_j; v_k) of every latent coordinate with every factor, and the entropies H(v_k).

    The codes are cut into bins of equal width between their least and greatest value, each coordinate by itself, as
    `numpy.histogram` does. The plug-in estimate is biased upwards by about (bins − 1)(levels − 1)/(2N) nats where nothing is shared.

    Args:
        codes: Codes, shape (N, latent).
        factors: Their integer levels, shape (N, number of factors).
        bins: Number of bins.

    Returns:
        Mutual information, shape (latent, factors that vary), and entropies, shape (factors that vary,), in nats.

    Raises:
        ValueError: If shapes or types are wrong, there is one bin only, or no factor varies.

    Example:
        >>> import numpy as np
        >>> v = np.arange(8)[:, None] % 2
        >>> information, entropy = mutual_information(np.hstack([v, np.ones((8, 1))]), v)
        >>> (information[:, 0] / entropy).tolist()
        [1.0, 0.0]
    """
    codes, factors = checked_pair(codes, factors)
    bins = validation.positive_integer(bins, "bins")
    if bins < 2:
        raise ValueError(f"expected at least two bins, got {bins}")
    inner = np.linspace(codes.min(axis=0), codes.max(axis=0), bins + 1, axis=1)[:, 1:-1]
    cells = np.stack([np.searchsorted(edges, z, side="right") for edges, z in zip(inner, codes.T, strict=True)], axis=1)
    n, latent = codes.shape
    columns, entropies = [], []
    for _, levels, place in levels_of(factors):
        flat = (np.arange(latent) * bins + cells) * len(levels) + place[:, None]
        count = np.bincount(flat.ravel(), minlength=latent * bins * len(levels)).reshape(latent, bins, -1)
        # A ratio of whole numbers: it is 1 exactly, and the information 0, where a coordinate knows nothing.
        ratio = n * count / np.maximum(count.sum(axis=2, keepdims=True) * np.bincount(place), 1)
        columns.append((count * np.log(np.where(count > 0, ratio, 1.0))).sum(axis=(1, 2)) / n)
        entropies.append(_entropy(np.bincount(place) / n))
    return np.maximum(np.stack(columns, axis=1), 0.0), np.stack(entropies)


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy of distributions along the last axis, in nats."""
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1))


def mig(codes: Any, factors: Any, *, bins: int = 20) -> float:
    """Mutual information gap: how much more the best latent coordinate knows of a factor than the second best.

    MIG = mean_k (I(z_j1; v_k) − I(z_j2; v_k)) / H(v_k),  j1 and j2 being best and second best for factor k.

    The definition takes the information from samples of the encoder; as in the reference implementation it is estimated
    here from mean codes by histograms (see `mutual_information`).

    Args:
        codes: Codes, shape (N, latent), usually 10,000.
        factors: Their integer levels, shape (N, number of factors).
        bins: Of each coordinate's histogram.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: If shapes or types are wrong, there are fewer than two latents or bins, or no factor varies.

    Example:
        >>> import numpy as np
        >>> v = np.stack(np.divmod(np.arange(16), 4), axis=1)
        >>> round(mig(v.astype(float), v), 6), mig(np.hstack([v, v]).astype(float), v)
        (1.0, 0.0)

    Source: chen2018isolating, Eq. 6.
    """
    information, entropy = mutual_information(codes, factors, bins=bins)
    at_least_two_latents(codes)
    ordered = np.sort(information, axis=0)
    return float(np.mean((ordered[-1] - ordered[-2]) / entropy))


def modularity(codes: Any, factors: Any, *, bins: int = 20) -> float:
    """Modularity: how far each latent coordinate shares information with one factor only.

    1 − mean_j Σ_{k ≠ k_j} I(z_j; v_k)² / (I(z_j; v_{k_j})² (K − 1)),  k_j being the factor that z_j knows best.

    The definition is silent on a coordinate that knows nothing of any factor; as in the reference implementation it
    counts as 0. One whose histogram differs from one bin shares a little with every factor by chance, hence counts
    as little too; give the columns of `active_latents` only to leave such coordinates out.

    Args:
        codes: Codes, shape (N, latent).
        factors: Their integer levels, shape (N, number of factors); at least two must vary.
        bins: Of each coordinate's histogram.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: If shapes or types are wrong, there is one bin only, or fewer than two factors vary.

    Example:
        >>> import numpy as np
        >>> v = np.stack(np.divmod(np.arange(16), 4), axis=1)
        >>> round(modularity(np.hstack([v, v]).astype(float), v), 6)
        1.0

    Source: ridgeway2018learning, Section 4.
    """
    information, _ = mutual_information(codes, factors, bins=bins)
    if information.shape[1] < 2:
        raise ValueError("expected at least two factors that vary, got 1")
    squares = np.sort(information**2, axis=1)
    best, others = squares[:, -1], squares[:, :-1].mean(axis=1)
    return float(np.mean(np.where(best > 0, 1 - others / np.where(best > 0, best, 1.0), 0.0)))
