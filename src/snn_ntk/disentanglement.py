"""Scores of disentanglement: how far each latent coordinate follows one factor of the data, and each factor one coordinate.

Four scores are those of the paper's Figure 3 (`beta_vae`, `mig`, `sap`, `factor_vae`), two more are common beside them
(`dci`, `modularity`). The settings are those of the study library that most published numbers come from; where it departs
from the paper that defines a score, the definition is followed and the docstring says so. Codes are the means of the
encoder. A factor that takes one level only has nothing to be found and is left out of every score.

Codes have shape (N, latent), factors shape (N, number of factors) and hold integer levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

__all__ = [
    "DCI",
    "Sampler",
    "active_latents",
    "beta_vae",
    "dci",
    "factor_vae",
    "mig",
    "modularity",
    "mutual_information",
    "sap",
    "sap_accuracies",
]

_CHUNK = 16_000  # rows that are encoded at a time


@runtime_checkable
class Sampler(Protocol):
    """What `beta_vae` and `factor_vae` need of the data; a `snn_ntk.datasets.FactorDataset` is one."""

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of levels of each factor."""
        ...

    def sample_factors(self, rng: np.random.Generator, n: int) -> Int[np.ndarray, "n k"]:
        """n draws of the factors."""
        ...


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness.

    Attributes:
        disentanglement: 1 if each coordinate matters to one factor only; 0 if each matters to all alike.
        completeness: 1 if one coordinate only matters to each factor; 0 if all matter alike.
        informativeness: held-out balanced accuracy at predicting the factors from the codes, mean over factors.
        importance: of each coordinate for each factor, shape (latent, factors that vary).
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: Float[np.ndarray, "latent k"]


def _codes(codes: np.ndarray, name: str = "codes") -> Float[np.ndarray, "n latent"]:
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.size == 0 or codes.dtype.kind not in "fiu":
        raise ValueError(f"expected {name} as real numbers of shape (N, latent), got {codes.dtype} of {codes.shape}")
    if not np.isfinite(codes).all():
        raise ValueError(f"expected finite {name}, got NaN or infinity")
    return codes.astype(np.float64)


def _paired(codes: np.ndarray, factors: np.ndarray, suffix: str = "") -> tuple[np.ndarray, np.ndarray]:
    codes, factors = _codes(codes, f"codes{suffix}"), np.asarray(factors)
    if factors.ndim != 2 or factors.shape[0] != len(codes) or factors.dtype.kind not in "iub":
        raise ValueError(
            f"expected factors{suffix} as integers of shape ({len(codes)}, number of factors) like codes{suffix}, "
            f"got {factors.dtype} of {factors.shape}"
        )
    return codes, factors


def _levels(factors: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """For each factor that varies: its column, its levels, and each row's place among them."""
    found = [(k, *np.unique(factors[:, k], return_inverse=True)) for k in range(factors.shape[1])]
    varying = [(k, levels, place) for k, levels, place in found if len(levels) > 1]
    if not varying:
        raise ValueError(f"expected a factor of at least two levels, got {factors.shape[1]} of one level")
    return varying


def _split(
    codes: np.ndarray, factors: np.ndarray, codes_test: np.ndarray, factors_test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    codes, factors = _paired(codes, factors)
    codes_test, factors_test = _paired(codes_test, factors_test, "_test")
    if codes_test.shape[1] != codes.shape[1] or factors_test.shape[1] != factors.shape[1]:
        raise ValueError(
            f"expected a test set of {codes.shape[1]} latents and {factors.shape[1]} factors like the training set, "
            f"got {codes_test.shape[1]} and {factors_test.shape[1]}"
        )
    return codes, factors, codes_test, factors_test


def _two_latents(codes: np.ndarray) -> None:
    if codes.shape[1] < 2:
        raise ValueError("expected at least two latents, whose difference is the score, got 1")


def _balanced_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the levels of the share of a level's points that are predicted as such."""
    _, place, counts = np.unique(truth, return_inverse=True, return_counts=True)
    return float(np.mean(np.bincount(place, weights=truth == predicted) / counts))


def active_latents(codes: Real[np.ndarray, "n latent"], *, threshold: float = 0.01) -> Bool[np.ndarray, " latent"]:
    """Which latent coordinates the encoder uses: those with Var_x E[z_j | x] > threshold.

    Args:
        codes: means of the encoder, shape (N, latent).
        threshold: on the variance over the data, where the prior has variance 1.

    Returns:
        A mask of shape (latent,); its mean is the share of active latents.

    Example:
        >>> import numpy as np
        >>> active_latents(np.array([[0.0, 0.5, 1.0], [0.1, 0.5, -1.0]])).tolist()
        [False, False, True]

    Source: Y. Burda, R. Grosse, R. Salakhutdinov, Importance weighted autoencoders, 2016, Section 5.2.
    """
    return _codes(codes).var(axis=0) > threshold


def mutual_information(
    codes: Real[np.ndarray, "n latent"], factors: Int[np.ndarray, "n k"], *, bins: int = 20
) -> tuple[Float[np.ndarray, "latent varying"], Float[np.ndarray, " varying"]]:
    """Mutual information I(z_j; v_k) of every latent coordinate with every factor that varies, and the entropies H(v_k).

    The codes are cut into bins of equal width between their least and greatest value, each coordinate by itself. The
    plug-in estimate is biased upwards by about (bins − 1)(levels − 1)/(2N) nats where nothing is shared.

    Args:
        codes: shape (N, latent).
        factors: integer levels, shape (N, number of factors).
        bins: number of bins.

    Returns:
        Mutual information, shape (latent, factors that vary), and entropies, shape (factors that vary,), in nats.

    Raises:
        ValueError: on wrong shapes or types, or if no factor varies.

    Example:
        >>> import numpy as np
        >>> v = np.arange(8)[:, None] % 2
        >>> information, entropy = mutual_information(np.hstack([v, np.ones((8, 1))]), v)
        >>> (information[:, 0] / entropy).tolist()
        [1.0, 0.0]
    """
    codes, factors = _paired(codes, factors)
    if bins < 2:
        raise ValueError(f"expected at least two bins, got {bins}")
    low, high = codes.min(axis=0), codes.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    cells = np.minimum((bins * ((codes - low) / width)).astype(np.int64), bins - 1)
    n, latent = codes.shape
    columns, entropies = [], []
    for _, levels, place in _levels(factors):
        flat = (np.arange(latent) * bins + cells) * len(levels) + place[:, None]
        joint = np.bincount(flat.ravel(), minlength=latent * bins * len(levels)).reshape(latent, bins, -1) / n
        columns.append(_entropy(joint.sum(axis=2)) + _entropy(joint.sum(axis=1)) - _entropy(joint.reshape(latent, -1)))
        entropies.append(_entropy(np.bincount(place) / n))
    return np.maximum(np.stack(columns, axis=1), 0.0), np.stack(entropies)


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy of distributions along the last axis, in nats."""
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1))


def mig(codes: Real[np.ndarray, "n latent"], factors: Int[np.ndarray, "n k"], *, bins: int = 20) -> float:
    """Mutual information gap: how much more the best latent coordinate knows of a factor than the second best.

    MIG = mean_k (I(z_j1; v_k) − I(z_j2; v_k)) / H(v_k),  j1 and j2 being best and second best for factor k.

    The definition takes the information from samples of the encoder; as in the reference implementation it is estimated
    here from mean codes by histograms (see `mutual_information`).

    Args:
        codes: shape (N, latent), usually 10,000 codes.
        factors: integer levels, shape (N, number of factors).
        bins: of each coordinate's histogram.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: on wrong shapes or types, fewer than two latents, or if no factor varies.

    Example:
        >>> import numpy as np
        >>> v = np.stack(np.divmod(np.arange(16), 4), axis=1)
        >>> round(mig(v.astype(float), v), 6), mig(np.hstack([v, v]).astype(float), v)
        (1.0, 0.0)

    Source: R. T. Q. Chen, X. Li, R. Grosse, D. Duvenaud, Isolating sources of disentanglement in VAEs, 2018, Eq. 6.
    """
    information, entropy = mutual_information(codes, factors, bins=bins)
    _two_latents(codes)
    ordered = np.sort(information, axis=0)
    return float(np.mean((ordered[-1] - ordered[-2]) / entropy))


def modularity(codes: Real[np.ndarray, "n latent"], factors: Int[np.ndarray, "n k"], *, bins: int = 20) -> float:
    """Modularity: how far each latent coordinate shares information with one factor only.

    1 − mean_j Σ_{k ≠ k_j} I(z_j; v_k)² / (I(z_j; v_{k_j})² (K − 1)),  k_j being the factor that z_j knows best.

    The definition is silent on a coordinate that knows nothing of any factor; as in the reference implementation it
    counts as 0. One whose histogram differs from one bin shares a little with every factor by chance, hence counts
    as little too; give the columns of `active_latents` only to leave such coordinates out.

    Args:
        codes: shape (N, latent).
        factors: integer levels, shape (N, number of factors); at least two must vary.
        bins: of each coordinate's histogram.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: on wrong shapes or types, or if fewer than two factors vary.

    Example:
        >>> import numpy as np
        >>> v = np.stack(np.divmod(np.arange(16), 4), axis=1)
        >>> round(modularity(np.hstack([v, v]).astype(float), v), 6)
        1.0

    Source: K. Ridgeway, M. C. Mozer, Learning deep disentangled embeddings with the F-statistic loss, 2018, Section 4.
    """
    information, _ = mutual_information(codes, factors, bins=bins)
    if information.shape[1] < 2:
        raise ValueError("expected at least two factors that vary, got 1")
    squares = np.sort(information**2, axis=1)
    best, others = squares[:, -1], squares[:, :-1].mean(axis=1)
    return float(np.mean(np.where(best > 0, 1 - others / np.where(best > 0, best, 1.0), 0.0)))


def sap(
    codes: Real[np.ndarray, "n latent"],
    factors: Int[np.ndarray, "n k"],
    codes_test: Real[np.ndarray, "n_test latent"],
    factors_test: Int[np.ndarray, "n_test k"],
    *,
    C: float = 0.01,
) -> float:
    """Separated attribute predictability: how much better the best coordinate predicts a factor than the second best.

    SAP = mean_k (S_{j1 k} − S_{j2 k}),  S being the held-out balanced accuracy of a linear classifier on one coordinate.

    Args:
        codes, factors: training set of the classifiers, usually 10,000 rows.
        codes_test, factors_test: held-out set, usually 5,000 rows.
        C: cost of the support vector machines.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: on wrong shapes or types, fewer than two latents, or if no factor varies.

    Example:
        >>> import numpy as np
        >>> v = np.stack(np.divmod(np.arange(400) % 4, 2), axis=1)
        >>> z = 3.0 * v
        >>> sap(z, v, z, v)
        0.5

    Source: A. Kumar, P. Sattigeri, A. Balakrishnan, Variational inference of disentangled latent concepts from unlabeled
    observations, 2018, Section 3.
    """
    accuracy = sap_accuracies(codes, factors, codes_test, factors_test, C=C)
    _two_latents(codes)
    ordered = np.sort(accuracy, axis=0)
    return float(np.mean(ordered[-1] - ordered[-2]))


def sap_accuracies(
    codes: Real[np.ndarray, "n latent"],
    factors: Int[np.ndarray, "n k"],
    codes_test: Real[np.ndarray, "n_test latent"],
    factors_test: Int[np.ndarray, "n_test k"],
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

    A machine on one coordinate has two unknowns, and the points within its margin are those on one side of a threshold.
    With sums along the sorted coordinate at hand a Newton step needs no pass over the data, only two look-ups: thousands
    of machines are solved at once and exactly, in seconds.

    Args, Raises: see `sap`; one latent is enough.

    Returns:
        Accuracies of shape (latent, factors that vary).

    Example:
        >>> import numpy as np
        >>> v = np.arange(400)[:, None] % 2
        >>> z = np.hstack([2.0 * v, np.zeros((400, 1))])
        >>> sap_accuracies(z, v, z, v).tolist()
        [[1.0], [0.5]]
    """
    codes, factors, codes_test, factors_test = _split(codes, factors, codes_test, factors_test)
    if not C > 0:
        raise ValueError(f"expected a positive C, got {C}")
    varying = _levels(factors)
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
    """Slopes and offsets of all levels' machines on a sorted coordinate; for two levels, of the second against the first."""
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


def dci(
    codes: Real[np.ndarray, "n latent"],
    factors: Int[np.ndarray, "n k"],
    codes_test: Real[np.ndarray, "n_test latent"],
    factors_test: Int[np.ndarray, "n_test k"],
    *,
    model: str = "forest",
    trees: int = 10,
    seed: int = 0,
) -> DCI:
    """Disentanglement, completeness and informativeness, from what trees that predict the factors find important.

    With the importance R_jk of coordinate j for factor k, whose sum over j is 1,

        D = Σ_j ρ_j (1 − H(R_jk / Σ_k R_jk over k) / log K),  ρ_j = Σ_k R_jk / Σ R,
        C = mean_k (1 − H(R_jk over j) / log latent),

    H being the entropy; I is the balanced accuracy on held-out codes.

    The definition leaves the model open: its authors use lasso and random forests, the reference implementation gradient
    boosting, whose number of trees grows with the levels. The default is a forest of extremely randomised trees that
    consider every coordinate at every split: seconds where boosting takes hours. Leaves are not small, because trees that
    grow until they have learned the noise find every coordinate important, the more so the more there are.

    Args:
        codes, factors: training set, usually 10,000 rows.
        codes_test, factors_test: held-out set, usually 5,000 rows.
        model: "forest", or "boosting" as in the reference implementation.
        trees: of the forest.
        seed: of the trees.

    Raises:
        ValueError: on wrong shapes or types, an unknown model, or if fewer than two factors vary.

    Example:
        >>> import numpy as np
        >>> v = np.stack(np.divmod(np.arange(400) % 16, 4), axis=1)
        >>> scores = dci(v.astype(float), v, v.astype(float), v)
        >>> [round(float(score), 2) for score in scores[:3]]
        [1.0, 1.0, 1.0]

    Source: C. Eastwood, C. K. I. Williams, A framework for the quantitative evaluation of disentangled representations,
    2018, Section 2.
    """
    codes, factors, codes_test, factors_test = _split(codes, factors, codes_test, factors_test)
    varying = _levels(factors)
    if len(varying) < 2:
        raise ValueError("expected at least two factors that vary, got 1")
    if model == "forest":
        options: dict[str, Any] = {"max_features": None, "min_samples_leaf": 20, "random_state": seed}
        fitted = [ExtraTreesClassifier(trees, **options) for _ in varying]
    elif model == "boosting":
        fitted = [GradientBoostingClassifier(random_state=seed) for _ in varying]
    else:
        raise ValueError(f"expected model 'forest' or 'boosting', got {model!r}")
    importance, accuracies = np.empty((codes.shape[1], len(varying))), []
    for column, (k, levels, place) in enumerate(varying):
        trained = fitted[column].fit(codes.astype(np.float32), place)
        importance[:, column] = trained.feature_importances_
        accuracies.append(
            _balanced_accuracy(factors_test[:, k], levels[trained.predict(codes_test.astype(np.float32))])
        )
    share = importance.sum(axis=1)
    rows = importance / np.where(share > 0, share, 1.0)[:, None]
    total = share.sum()
    if total == 0:  # codes without any information: no tree could split
        return DCI(0.0, 0.0, float(np.mean(accuracies)), importance)
    one_sided = 1 - _entropy(rows) / np.log(len(varying))
    complete = 1 - _entropy(importance.T) / np.log(max(codes.shape[1], 2))
    complete = np.where(importance.sum(axis=0) > 0, complete, 0.0)
    return DCI(float(share @ one_sided / total), float(complete.mean()), float(np.mean(accuracies)), importance)


def _encoded(encode: Callable[[np.ndarray], np.ndarray], factors: np.ndarray) -> np.ndarray:
    codes = _codes(encode(factors), "codes from encode")
    if len(codes) != len(factors):
        raise ValueError(f"expected {len(factors)} codes from encode, one for each row of factors, got {len(codes)}")
    return codes


def _varying(sampler: Sampler) -> np.ndarray:
    varying = np.flatnonzero(np.array(sampler.factor_sizes) > 1)
    if len(varying) < 2:
        raise ValueError(f"expected at least two factors that vary, got sizes {sampler.factor_sizes}")
    return varying


def _counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 2:
            raise ValueError(f"expected {name} of at least 2, got {count}")


def beta_vae(
    sampler: Sampler,
    encode: Callable[[np.ndarray], np.ndarray],
    *,
    rng: np.random.Generator,
    train: int = 10_000,
    test: int = 5_000,
    batch: int = 64,
) -> float:
    """The BetaVAE metric: can a linear classifier tell which factor two images share?

    A point is the mean distance in each coordinate between pairs of codes whose images agree in one factor, drawn anew
    for each point, and are not otherwise chosen; the score is the held-out accuracy of logistic regression at naming that factor. Chance is one
    over the number of factors that vary.

    Args:
        sampler: draws factors.
        encode: from factors, integers of shape (n, k), to the mean codes of their images, shape (n, latent).
        rng: random numbers.
        train, test: points to fit the classifier to, and to score it on.
        batch: pairs in a point.

    Returns:
        An accuracy between 0 and 1.

    Raises:
        ValueError: if fewer than two factors vary, or `encode` does not return one code for each row.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.datasets import dsprites
        >>> data = dsprites()
        >>> float(beta_vae(data, lambda v: v / data.factor_sizes, rng=np.random.default_rng(0), train=500, test=500))
        1.0

    Source: I. Higgins et al., β-VAE, 2017, Section 3. The published classifier is linear and softmax; the reference
    implementation fits one level against the rest with the solver of its time, the one here is multinomial.
    """
    _counts(train=train, test=test, batch=batch)
    varying = _varying(sampler)

    def points(count: int) -> tuple[np.ndarray, np.ndarray]:
        shared = rng.choice(varying, count)
        features = []
        for part in _parts(shared, 2 * batch):
            rows = np.repeat(part, batch)
            left, right = (sampler.sample_factors(rng, len(rows)) for _ in range(2))
            left[np.arange(len(rows)), rows] = right[np.arange(len(rows)), rows]
            codes = _encoded(encode, np.concatenate([left, right]))
            distance = abs(codes[: len(rows)] - codes[len(rows) :])
            features.append(distance.reshape(len(part), batch, -1).mean(axis=1))
        return np.concatenate(features), shared

    features, shared = points(train)
    if len(np.unique(shared)) < 2:
        raise ValueError(f"expected train points of at least two factors, got {train} points of one")
    classifier = LogisticRegression(max_iter=2_000, tol=1e-3).fit(features, shared)
    return float(classifier.score(*points(test)))


def _parts(chosen: np.ndarray, rows_each: int) -> list[np.ndarray]:
    """The points in parts whose rows are encoded at a time; all but the last part are of one size."""
    size = max(_CHUNK // rows_each, 1)
    return [chosen[start : start + size] for start in range(0, len(chosen), size)]


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
    """The FactorVAE metric: does the coordinate that varies least name the factor that is held still?

    A point is the coordinate whose variance over a batch with one factor held still is the smallest share of its variance
    over the data; coordinates with a standard deviation below `threshold` over the data have no vote. The score is the
    held-out accuracy of the majority vote of coordinates. Chance is about one over the number of factors that vary; a
    code without any coordinate above the threshold scores 0.

    Args:
        sampler, encode, rng, train, test: see `beta_vae`.
        batch: images in a point.
        variance_codes: codes that the variance over the data is taken from.
        threshold: on the standard deviation. The definition leaves out coordinates that collapsed to the prior; this
            number is the reference implementation's.

    Returns:
        An accuracy between 0 and 1.

    Raises:
        ValueError: if fewer than two factors vary, or `encode` does not return one code for each row.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.datasets import dsprites
        >>> data = dsprites()
        >>> float(factor_vae(data, lambda v: v / data.factor_sizes, rng=np.random.default_rng(0), train=500, test=500))
        1.0

    Source: H. Kim, A. Mnih, Disentangling by factorising, 2018, Section 4.
    """
    _counts(train=train, test=test, batch=batch, variance_codes=variance_codes)
    varying = _varying(sampler)
    spread = _encoded(encode, sampler.sample_factors(rng, variance_codes)).var(axis=0, ddof=1)
    voting = np.flatnonzero(spread >= threshold**2)
    if not len(voting):
        return 0.0

    def votes(count: int) -> np.ndarray:
        held = rng.integers(len(varying), size=count)
        least = []
        for part in _parts(held, batch):
            factors = sampler.sample_factors(rng, len(part) * batch).reshape(len(part), batch, -1)
            columns = varying[part]
            factors[np.arange(len(part)), :, columns] = factors[np.arange(len(part)), 0, columns][:, None]
            codes = _encoded(encode, factors.reshape(len(part) * batch, -1)).reshape(len(part), batch, -1)
            least.append((codes[..., voting].var(axis=1, ddof=1) / spread[voting]).argmin(axis=1))
        table = np.zeros((len(voting), len(varying)), int)
        np.add.at(table, (np.concatenate(least), held), 1)
        return table

    majority = votes(train).argmax(axis=1)
    table = votes(test)
    return float(table[np.arange(len(voting)), majority].sum() / table.sum())
