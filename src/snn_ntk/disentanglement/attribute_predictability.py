"""SAP: how much better the best coordinate predicts a factor than the second, by exact one-dimensional machines."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from snn_ntk.disentanglement.codes import at_least_two_latents, checked_split, levels_of

__all__ = ["sap", "sap_accuracies"]


def _balanced_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the levels of the share of a level's points that are predicted as such."""
    _, place, counts = np.unique(truth, return_inverse=True, return_counts=True)
    return float(np.mean(np.bincount(place, weights=truth == predicted) / counts))


def sap(
    codes: Any,
    factors: Any,
    codes_test: Any,
    factors_test: Any,
    *,
    C: float = 0.01,
) -> float:
    """Separated attribute predictability: how much better the best coordinate predicts a factor than the second.

    SAP = mean_k (S_{j1 k} − S_{j2 k}),  S being the held-out balanced accuracy of a linear classifier on one
    coordinate.

    Args:
        codes: Codes that the classifiers are fitted to, shape (n, latent), usually 10,000 rows.
        factors: Their factors' integer levels, shape (n, number of factors).
        codes_test: Held-out codes, shape (n_test, latent), usually 5,000 rows.
        factors_test: Their factors' integer levels, shape (n_test, number of factors).
        C: Cost of the support vector machines.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: If shapes or types are wrong, C is not positive and finite, there are fewer than two latents, or no factor
            varies.

    Example:
        >>> import numpy as np
        >>> v = np.stack(np.divmod(np.arange(400) % 4, 2), axis=1)
        >>> z = 3.0 * v
        >>> sap(z, v, z, v)
        0.5

    Source: kumar2018variational, Section 3.
    """
    accuracy = sap_accuracies(codes, factors, codes_test, factors_test, C=C)
    at_least_two_latents(codes)
    ordered = np.sort(accuracy, axis=0)
    return float(np.mean(ordered[-1] - ordered[-2]))


def sap_accuracies(
    codes: Any,
    factors: Any,
    codes_test: Any,
    factors_test: Any,
    *,
    C: float = 0.01,
) -> Float[np.ndarray, "latent varying"]:
    """Held-out balanced accuracy of a linear support vector machine at each factor from each coordinate alone.

    The definition asks for thresholds with the least balanced error. As in the reference implementation they come from
    linear machines with squared hinge loss, one level against the rest, which minimise over slope w and offset b

        (w² + b²)/2 + C Σ_i c_i max(0, 1 − y_i (w z_i + b))²

    with balanced costs c_i = N/(levels · N_level) of a level's own points (and 1 of the rest where there are more than
    two levels, which is what the reference's solver does). The accuracy is balanced as the definition says; the
    reference's is not, which differs where levels are not equally frequent in the held-out set.

    Args:
        codes: Codes that the classifiers are fitted to, shape (n, latent), usually 10,000 rows.
        factors: Their factors' integer levels, shape (n, number of factors).
        codes_test: Held-out codes, shape (n_test, latent), usually 5,000 rows.
        factors_test: Their factors' integer levels, shape (n_test, number of factors).
        C: Cost of the support vector machines.

    Returns:
        Accuracies of shape (latent, factors that vary).

    Raises:
        ValueError: If shapes or types are wrong, C is not positive and finite, or no factor varies.

    Example:
        >>> import numpy as np
        >>> v = np.arange(400)[:, None] % 2
        >>> z = np.hstack([2.0 * v, np.zeros((400, 1))])
        >>> sap_accuracies(z, v, z, v).tolist()
        [[1.0], [0.5]]

    Source: kumar2018variational, Section 3.
    """
    # A machine on one coordinate has two unknowns, and the points within its margin are those on one side of a
    # threshold. With sums along the sorted coordinate at hand a Newton step needs no pass over the data, only two
    # look-ups: thousands of machines are solved at once and exactly, in seconds.
    codes, factors, codes_test, factors_test = checked_split(codes, factors, codes_test, factors_test)
    if not 0 < C < np.inf:
        raise ValueError(f"expected a positive, finite C, got {C}")
    varying = levels_of(factors)
    accuracies = np.empty((codes.shape[1], len(varying)))
    for j, (z, z_test) in enumerate(zip(codes.T, codes_test.T, strict=True)):
        order = np.argsort(z)
        for column, (k, levels, place) in enumerate(varying):
            slope, offset = _machines(z[order], place[order], len(levels), C)
            scores = z_test[:, None] * slope + offset
            chosen = (scores[:, 0] > 0).astype(int) if len(levels) == 2 else scores.argmax(axis=1)
            accuracies[j, column] = _balanced_accuracy(factors_test[:, k], levels[chosen])
    return accuracies


def _machines(ordered: np.ndarray, own: np.ndarray, levels: int, C: float) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and offsets of all levels' machines on a sorted coordinate; of two levels, one machine tells them apart."""
    n = len(ordered)
    counts = np.bincount(own, minlength=levels)
    weights = n / (levels * counts)
    first, positive = (1, C * weights[1:]) if levels == 2 else (0, C * weights)
    negative = np.full(len(positive), C * weights[0] if levels == 2 else C)
    which = np.arange(first, levels)
    # Σ 1, Σ z, Σ z² of the points before each rank: of all points, and of each level's points one level after another.
    powers = np.stack([np.ones(n), ordered, ordered**2])
    everyone = np.concatenate([np.zeros((3, 1)), powers.cumsum(axis=1)], axis=1)
    # Each level's points, in order; small integers are sorted by counting, so few bits are faster.
    grouped = np.argsort(own.astype(np.uint16) if levels < 2**16 else own, kind="stable")
    keys = own[grouped] * (n + 1) + grouped
    levelwise = np.concatenate([np.zeros((3, 1)), powers[:, grouped].cumsum(axis=1)], axis=1)
    start = np.concatenate([[0], counts.cumsum()])

    def before(rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sums over points of smaller rank: of the machine's own level, and of the rest."""
        mine = levelwise[:, np.searchsorted(keys, which * (n + 1) + rank)] - levelwise[:, start[which]]
        return mine, everyone[:, rank] - mine

    whole_mine, whole_rest = before(np.full(len(which), n))

    def within(w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sums over points within the margin: own points with wz + b < 1, others with wz + b > −1."""
        rising = w > 0
        safe = np.where(w == 0, 1.0, w)
        limit = [np.searchsorted(ordered, (sign - b) / safe, side="left") for sign in (1, -1)]
        mine, rest = before(limit[0])[0], before(limit[1])[1]
        mine = np.where(rising, mine, whole_mine - mine)
        rest = np.where(rising, whole_rest - rest, rest)
        flat = w == 0
        mine = np.where(flat, whole_mine * (b < 1), mine)
        rest = np.where(flat, whole_rest * (b > -1), rest)
        return positive * mine, negative * rest

    def cost(w: np.ndarray, b: np.ndarray, mine: np.ndarray, rest: np.ndarray) -> np.ndarray:
        losses = [
            (1 - s * b) ** 2 * sums[0] - 2 * (1 - s * b) * s * w * sums[1] + w**2 * sums[2]
            for s, sums in ((1, mine), (-1, rest))
        ]
        return (w**2 + b**2) / 2 + losses[0] + losses[1]

    w = b = np.zeros(len(which))
    mine, rest = within(w, b)
    value = cost(w, b, mine, rest)
    for _ in range(100):
        both, difference = mine + rest, mine - rest
        slope = w + 2 * (w * both[2] + b * both[1] - difference[1])
        shift = b + 2 * (w * both[1] + b * both[0] - difference[0])
        aa, bb, cc = 1 + 2 * both[2], 1 + 2 * both[0], 2 * both[1]
        determinant = aa * bb - cc**2
        step_w, step_b = (bb * slope - cc * shift) / determinant, (aa * shift - cc * slope) / determinant
        # The cost is convex and quadratic between changes of who is within the margin: full steps nearly always, and
        # halved ones where a full one would lead uphill.
        length = np.ones(len(which))
        for _ in range(30):
            new_w, new_b = w - length * step_w, b - length * step_b
            mine, rest = within(new_w, new_b)
            new = cost(new_w, new_b, mine, rest)
            uphill = new > value + 1e-12 * abs(value)
            if not uphill.any():
                break
            length = np.where(uphill, length / 2, length)
        settled = np.all(abs(new_w - w) <= 1e-9 * (1 + abs(w))) and np.all(abs(new_b - b) <= 1e-9 * (1 + abs(b)))
        w, b, value = new_w, new_b, new
        if settled:
            break
    return w, b
