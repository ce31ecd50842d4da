"""The BetaVAE and FactorVAE metrics: codes of images whose factors are chosen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression

from snn_ntk import _validation as validation
from snn_ntk.disentanglement.codes import Sampler, check_counts, encoded, parts_of, varying_factors

__all__ = ["beta_vae", "factor_vae"]


def beta_vae(
    sampler: Sampler,
    encode: Callable[[np.ndarray], np.ndarray],
    *,
    rng: np.random.Generator,
    train: int = 10_000,
    test: int = 5_000,
    batch: int = 64,
) -> float:
    """The BetaVAE metric: how well a linear classifier tells which factor two images share.

    A point is the mean distance in each coordinate between pairs of codes whose images agree in one factor, drawn anew
    for each point, and are not otherwise chosen; the score is the held-out accuracy of logistic regression at naming
    that factor. Chance is one over the number of factors that vary. The published classifier is linear and softmax; the
    reference implementation fits one level against the rest with the solver of its time, the one here is multinomial.
    Its weights are penalised and the codes are taken as they are, in units of the prior: perfect codes that are made a
    thousand times smaller ask for larger weights, and score near chance. Bring codes to that scale first.

    Args:
        sampler: Draws factors.
        encode: From factors, integers of shape (n, k), to the mean codes of their images, shape (n, latent).
        rng: Random numbers.
        train: Points to fit the classifier to.
        test: Points to score it on.
        batch: Pairs in a point.

    Returns:
        An accuracy between 0 and 1.

    Raises:
        TypeError: If the data is no grid of factors, `rng` is not a generator, or a count is not an integer.
        ValueError: If fewer than two factors vary, a count is below two, or `encode` returns another number of codes.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.datasets import dsprites
        >>> data = dsprites()
        >>> float(beta_vae(data, lambda v: v / data.factor_sizes, rng=np.random.default_rng(0), train=500, test=500))
        1.0

    Source: higgins2017beta, Section 3.
    """
    rng = validation.generator(rng)
    check_counts(train=train, test=test, batch=batch)
    varying = varying_factors(sampler)

    def points(count: int) -> tuple[np.ndarray, np.ndarray]:
        shared = rng.choice(varying, count)
        features = []
        for part in parts_of(shared, 2 * batch):
            rows = np.repeat(part, batch)
            left, right = (sampler.sample_factors(rng, len(rows)) for _ in range(2))
            left[np.arange(len(rows)), rows] = right[np.arange(len(rows)), rows]
            codes = encoded(encode, np.concatenate([left, right]))
            distance = abs(codes[: len(rows)] - codes[len(rows) :])
            features.append(distance.reshape(len(part), batch, -1).mean(axis=1))
        return np.concatenate(features), shared

    features, shared = points(train)
    if len(np.unique(shared)) < 2:
        raise ValueError(f"expected train points of at least two factors, got {train} points of one")
    classifier = LogisticRegression(max_iter=2_000, tol=1e-3).fit(features, shared)
    return float(classifier.score(*points(test)))


def factor_vae(
    sampler: Sampler,
    encode: Callable[[np.ndarray], np.ndarray],
    *,
    rng: np.random.Generator,
    train: int = 10_000,
    test: int = 5_000,
    batch: int = 64,
    variance_codes: int = 10_000,
    threshold: float = 0.05,
) -> float:
    """The FactorVAE metric: how well the coordinate that varies least names the factor that is held still.

    A point is the coordinate whose variance over a batch with one factor held still is the smallest share of its
    variance over the data; coordinates with a standard deviation of 0 or below `threshold` over the data have no vote. The
    score is the held-out accuracy of the majority vote of coordinates. Chance is about one over the number of factors
    that vary; a code without any coordinate above the threshold scores 0.

    Args:
        sampler: Draws factors.
        encode: From factors, integers of shape (n, k), to the mean codes of their images, shape (n, latent).
        rng: Random numbers.
        train: Points for the majority vote.
        test: Points to score it on.
        batch: Images in a point.
        variance_codes: Codes that the variance over the data is taken from.
        threshold: On the standard deviation. The definition leaves out coordinates that collapsed to the prior; this
            number is the reference implementation's.

    Returns:
        An accuracy between 0 and 1.

    Raises:
        TypeError: If the data is no grid of factors, `rng` is not a generator, a count is not an integer, or `threshold`
            is not a number.
        ValueError: If fewer than two factors vary, a count is below two, `threshold` is negative or not finite, or
            `encode` returns another number of codes.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.datasets import dsprites
        >>> data = dsprites()
        >>> float(factor_vae(data, lambda v: v / data.factor_sizes, rng=np.random.default_rng(0), train=500, test=500))
        1.0

    Source: kim2018disentangling, Section 4.
    """
    rng = validation.generator(rng)
    check_counts(train=train, test=test, batch=batch, variance_codes=variance_codes)
    validation.non_negative(threshold, "threshold")
    varying = varying_factors(sampler)
    spread = encoded(encode, sampler.sample_factors(rng, variance_codes)).var(axis=0, ddof=1)
    voting = np.flatnonzero((spread >= threshold**2) & (spread > 0))
    if not len(voting):
        return 0.0

    def votes(count: int) -> np.ndarray:
        held = rng.integers(len(varying), size=count)
        least = []
        for part in parts_of(held, batch):
            factors = sampler.sample_factors(rng, len(part) * batch).reshape(len(part), batch, -1)
            columns = varying[part]
            factors[np.arange(len(part)), :, columns] = factors[np.arange(len(part)), 0, columns][:, None]
            codes = encoded(encode, factors.reshape(len(part) * batch, -1)).reshape(len(part), batch, -1)
            least.append((codes[..., voting].var(axis=1, ddof=1) / spread[voting]).argmin(axis=1))
        table = np.zeros((len(voting), len(varying)), int)
        np.add.at(table, (np.concatenate(least), held), 1)
        return table

    majority = votes(train).argmax(axis=1)
    table = votes(test)
    return float(table[np.arange(len(voting)), majority].sum() / table.sum())
