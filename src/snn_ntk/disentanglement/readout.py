"""How much of each factor a ridge classifier reads from a code, against chance and random projections of the images."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float
from sklearn.linear_model import RidgeCV

from snn_ntk import _validation as validation
from snn_ntk.disentanglement.codes import checked_split

__all__ = ["Readout", "random_projection", "read_factors"]


class Readout(NamedTuple):
    """What was read of each factor.

    Attributes:
        accuracy: Held-out balanced accuracy, shape (factors,).
        interval: Its confidence interval over held-out images, shape (factors, 2); it does not cover training again.
        chance: Balanced accuracy of any constant answer, 1 / levels, shape (factors,).
    """

    accuracy: Float[np.ndarray, " k"]
    interval: Float[np.ndarray, "k 2"]
    chance: Float[np.ndarray, " k"]

    @property
    def skill(self) -> Float[np.ndarray, " k"]:
        """Accuracy on a scale from chance, 0, to always right, 1; 0 for a factor of one level."""
        return (self.accuracy - self.chance) / np.where(self.chance < 1, 1 - self.chance, 1.0)


def random_projection(images: Any, latent: int, *, rng: np.random.Generator) -> Float[np.ndarray, "n latent"]:
    """Codes that know nothing of the data: the pixels times independent Gaussian weights.

    Args:
        images: Arrays of any one shape, bytes or numbers, (n, …).
        latent: Numbers in a code.
        rng: Draws the weights; the same state gives the same projection of another set of images.

    Returns:
        Codes of shape (n, latent), float32.

    Raises:
        TypeError: If `latent` is not an integer, or `rng` is not a generator.
        ValueError: If it is below 1.

    Example:
        >>> import numpy as np
        >>> random_projection(np.ones((5, 8, 8, 3)), 10, rng=np.random.default_rng(0)).shape
        (5, 10)
    """
    latent = validation.positive_integer(latent, "latent")
    images, rng = np.asarray(images), validation.generator(rng)
    flat = images.reshape(len(images), -1)
    weights = rng.standard_normal((flat.shape[1], latent), dtype=np.float32) / flat.shape[1] ** 0.5
    parts = [flat[start : start + 1024].astype(np.float32) @ weights for start in range(0, len(flat), 1024)]
    return np.concatenate(parts)


def read_factors(
    codes: Any,
    factors: Any,
    codes_test: Any,
    factors_test: Any,
    *,
    hidden: int = 0,
    seed: int = 0,
    level: float = 0.95,
) -> Readout:
    """Reads every factor from the codes with a ridge classifier and counts how often it is right on held-out codes.

    The indicators of all levels of all factors are regressed on the standardised codes, with the penalty that predicts
    best when one code at a time is left out; the answer is the level with the largest prediction. The accuracy is
    balanced: the mean over levels of the share of a level's held-out images that are recognised.

    Its interval is that of a sum of independent shares by the normal distribution, z its quantile, after z²/K trials
    are added to each of the K levels, half of them right: Agresti and Coull's interval for one share, Price and
    Bonett's for several. It holds the accuracy, at every level of confidence.

    A linear reader of more numbers can only be better on the codes that it is fitted to. So a larger code is to be
    compared with a random projection of its own size, not only with a smaller code; and `hidden` rectified random
    features let small and large codes be read by the same number of features.

    Args:
        codes: Codes that the reader is fitted to, shape (n, latent).
        factors: Their factors' integer levels, shape (n, number of factors).
        codes_test: Held-out codes, shape (n_test, latent).
        factors_test: Their factors' integer levels, shape (n_test, number of factors).
        hidden: Number of random features of the codes; 0 reads the codes linearly.
        seed: Of the random features.
        level: Of confidence of the intervals.

    Returns:
        Accuracy, interval and chance for each factor, in order; all are 1 for a factor of one level.

    Raises:
        ValueError: If shapes do not fit, a level is not both among those to fit and those held out, `level` is not
            between 0 and 1, or `hidden` is negative.

    Example:
        >>> import numpy as np
        >>> v = np.stack(np.divmod(np.arange(64) % 4, 2), axis=1)
        >>> codes = np.array([[1.0, 2.0], [0.0, 0.0]])[v[:, 0]]
        >>> read_factors(codes, v, codes, v).accuracy.round(2).tolist()
        [1.0, 0.5]

    Source: price2004improved (the interval; from memory).
    """
    codes, factors, codes_test, factors_test = checked_split(codes, factors, codes_test, factors_test)
    if not 0 < level < 1:
        raise ValueError(f"expected a level of confidence between 0 and 1, got {level}")
    if hidden < 0:
        raise ValueError(f"expected a number of random features >= 0, got {hidden}")
    levels = [np.unique(factors[:, k]) for k in range(factors.shape[1])]
    for k, found in enumerate(levels):
        if not np.array_equal(found, np.unique(factors_test[:, k])):
            raise ValueError(
                f"expected the same levels of factor {k} to fit and held out, "
                f"got {found.tolist()} and {np.unique(factors_test[:, k]).tolist()}"
            )
    features, features_test = _features(codes, codes_test, hidden, seed)
    targets = np.concatenate([factors[:, [k]] == found for k, found in enumerate(levels)], axis=1)
    reader = RidgeCV(alphas=np.logspace(-1, 4, 6)).fit(features, targets.astype(np.float64))
    predicted = np.split(reader.predict(features_test), np.cumsum([len(found) for found in levels])[:-1], axis=1)
    quantile = scipy.stats.norm.ppf((1 + level) / 2)
    accuracy, interval = [], []
    for k, found in enumerate(levels):
        if len(found) == 1:
            accuracy.append(1.0)
            interval.append(np.ones(2))
            continue
        place = np.searchsorted(found, factors_test[:, k])
        counts = np.bincount(place)
        right = np.bincount(place, weights=predicted[k].argmax(axis=1) == place)
        # z² trials, half of them right, over all levels (Agresti and Coull's of one): an accuracy of 1 has a width too.
        added = quantile**2 / len(found)
        share = (right + added / 2) / (counts + added)
        error = np.sqrt((share * (1 - share) / (counts + added)).sum()) / len(found)
        accuracy.append((right / counts).mean())
        interval.append(np.clip(share.mean() + quantile * error * np.array([-1, 1]), 0, 1))
    return Readout(np.array(accuracy), np.array(interval), np.array([1 / len(found) for found in levels]))


def _features(codes: np.ndarray, codes_test: np.ndarray, hidden: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    centre, scale = codes.mean(axis=0, dtype=np.float64), codes.std(axis=0, dtype=np.float64)
    # A latent that the encoder does not use is all rounding; dividing by its scale would make a feature of it.
    used = scale > 1e-6 * max(scale.max(), 1e-30)
    if not used.any():
        return np.zeros((len(codes), 1)), np.zeros((len(codes_test), 1))
    fit, test = ((each[:, used] - centre[used]) / scale[used] for each in (codes, codes_test))
    if not hidden:
        return fit, test
    rng = np.random.default_rng(seed)
    weights, offsets = rng.normal(size=(fit.shape[1], hidden)) / fit.shape[1] ** 0.5, rng.normal(size=hidden)
    return np.maximum(fit @ weights + offsets, 0), np.maximum(test @ weights + offsets, 0)
