"""DCI: disentanglement, completeness and informativeness from the importances of trees."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier

from snn_ntk.disentanglement.attribute_predictability import _balanced_accuracy
from snn_ntk.disentanglement.codes import checked_split, levels_of
from snn_ntk.disentanglement.information import _entropy

__all__ = ["DCI", "dci"]


# Leaves are not small: trees that grow until they have learned the noise find every coordinate important.
_LEAF = 20


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness.

    Attributes:
        disentanglement: From 0, each coordinate matters to all factors alike, to 1, each matters to one only.
        completeness: From 0, all coordinates matter to each factor alike, to 1, one only matters.
        informativeness: Held-out balanced accuracy at predicting the factors from the codes, mean over factors.
        importance: Of each coordinate for each factor, shape (latent, factors that vary).
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: Float[np.ndarray, "latent k"]


def dci(
    codes: Any,
    factors: Any,
    codes_test: Any,
    factors_test: Any,
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

    The definition leaves the model open: its authors use lasso and random forests, the reference implementation
    gradient boosting, whose number of trees grows with the levels. The default is a forest of extremely randomised
    trees that consider every coordinate at every split: seconds where boosting takes hours. Its leaves hold 20 rows or
    more, so that it needs 40 to split at all, and cannot tell levels that are rarer than a leaf.

    Args:
        codes: Codes that the trees are fitted to, shape (n, latent), usually 10,000 rows; a forest needs 40.
        factors: Their factors' integer levels, shape (n, number of factors).
        codes_test: Held-out codes, shape (n_test, latent), usually 5,000 rows.
        factors_test: Their factors' integer levels, shape (n_test, number of factors).
        model: Either "forest" or "boosting" as in the reference implementation.
        trees: Of the forest.
        seed: Of the trees.

    Returns:
        The three scores, and the importances they come from.

    Raises:
        ValueError: If shapes or types are wrong, the model is unknown, fewer than two factors vary, or a forest is to
            be fitted to fewer than 40 rows.

    Example:
        >>> import numpy as np
        >>> v = np.stack(np.divmod(np.arange(400) % 16, 4), axis=1)
        >>> scores = dci(v.astype(float), v, v.astype(float), v)
        >>> [round(float(score), 2) for score in scores[:3]]
        [1.0, 1.0, 1.0]

    Source: eastwood2018framework, Section 2.
    """
    codes, factors, codes_test, factors_test = checked_split(codes, factors, codes_test, factors_test)
    varying = levels_of(factors)
    if len(varying) < 2:
        raise ValueError("expected at least two factors that vary, got 1")
    if model == "forest":
        if len(codes) < 2 * _LEAF:
            raise ValueError(f"expected at least {2 * _LEAF} rows of codes for a forest, got {len(codes)}")
        options: dict[str, Any] = {"max_features": None, "min_samples_leaf": _LEAF, "random_state": seed}
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
