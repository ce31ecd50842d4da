"""Scores of disentanglement: by hand, at codes known to be perfect or useless, and against brute force."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

from snn_ntk import disentanglement
from snn_ntk.disentanglement import attribute_predictability, codes, importance

SIZES = (1, 3, 4, 5)  # the first never varies


def sampler(sizes=SIZES):
    return SimpleNamespace(factor_sizes=sizes, sample_factors=lambda rng, n: rng.integers(0, sizes, (n, len(sizes))))


def draw(seed, n, sizes=SIZES):
    return sampler(sizes).sample_factors(np.random.default_rng(seed), n)


def perfect(factors):
    return factors[:, 1:] / np.array(SIZES[1:])


def scaled(factors):
    """Perfect, at a scale at which regularised linear machines are not held back."""
    return 20.0 * perfect(factors)


def useless(seed=5, latent=4):
    rng = np.random.default_rng(seed)
    return lambda factors: rng.normal(size=(len(factors), latent))


ARRAY_SCORES = {
    "mig": lambda z, v, z2, v2: disentanglement.mig(z, v),
    "modularity": lambda z, v, z2, v2: disentanglement.modularity(z, v),
    "sap": disentanglement.sap,
    "disentanglement": lambda *data: disentanglement.dci(*data).disentanglement,
    "completeness": lambda *data: disentanglement.dci(*data).completeness,
    "informativeness": lambda *data: disentanglement.dci(*data).informativeness,
}


@pytest.mark.parametrize("name", ARRAY_SCORES)
def test_a_perfect_code_scores_near_1_and_a_useless_one_near_chance(name):
    v, v2 = draw(0, 3000), draw(1, 1500)
    score = ARRAY_SCORES[name]
    high = score(scaled(v), v, scaled(v2), v2)
    noise = useless()
    low = score(noise(v), v, noise(v2), v2)
    chance = {"informativeness": np.mean([1 / size for size in SIZES[1:]]), "modularity": None}.get(name, 0.0)
    if name == "sap":  # a linear machine tells the outer levels from the rest, but not all levels, so 1 is out of reach
        assert 0.3 < high < 1
    else:
        assert high > 0.99
    if chance is not None:
        assert abs(low - chance) < 0.06
    else:  # modularity of noise compares noise with noise: far from 1, with no fixed value
        assert low < 0.8


def test_a_rotated_code_scores_between():
    v = draw(0, 3000)
    z = scaled(v)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    data = z @ rotation, v, z @ rotation, v
    for name in ("mig", "modularity", "disentanglement", "completeness"):
        noise = useless()
        low = ARRAY_SCORES[name](noise(v), v, noise(v), v) if name != "modularity" else 0
        assert low < ARRAY_SCORES[name](*data) < ARRAY_SCORES[name](z, v, z, v) - 0.1


def test_mig_by_hand():
    # z1 = v1. z2 tells only v2's parity: 1 of 2 bits; z3 repeats it; z4 tells v2's upper half: 1 bit. The gaps are
    # (1 − 0)/1 for v1 and (1 − 1)/2 for v2. With z5 = v2 the second is (2 − 1)/2.
    v = np.stack(np.divmod(np.arange(8), 4), axis=1)
    half = v[:, 1] // 2
    parity = v[:, 1] % 2
    z = np.stack([v[:, 0], parity, parity, half], axis=1).astype(float)
    assert disentanglement.mig(z, v) == pytest.approx(1 / 2)
    assert disentanglement.mig(np.column_stack([z, v[:, 1]]), v) == pytest.approx(3 / 4)


def test_modularity_by_hand():
    # z1 = v1 (1 bit of one factor: 1). z2 = v1 + 2 v2 (1 bit of each: 1 − 1/(2 − 1) = 0). z3 constant: 0.
    v = np.stack(np.divmod(np.arange(4), 2), axis=1)
    z = np.stack([v[:, 0], v[:, 0] + 2 * v[:, 1], np.ones(4)], axis=1).astype(float)
    assert disentanglement.modularity(z, v) == pytest.approx(1 / 3)


def test_modularity_of_three_factors_is_a_mean_over_the_others():
    # z1 = v1 + 2 v2 + 4 v3 has 1 bit of each: 1 − (1 + 1)/2 = 0. z2 = v1 + 2 v2 has 1 of two: 1 − (1 + 0)/2.
    v = np.stack(np.unravel_index(np.arange(8), (2, 2, 2)), axis=1)
    z = np.stack([v @ [1, 2, 4], v @ [1, 2, 0]], axis=1).astype(float)
    assert disentanglement.modularity(z[:, :1], v) == pytest.approx(0)
    assert disentanglement.modularity(z[:, 1:], v) == pytest.approx(1 / 2)
    assert disentanglement.modularity(z, v) == pytest.approx(1 / 4)


def test_mutual_information_is_sklearns_on_the_same_bins():
    v = draw(0, 500)
    z = np.random.default_rng(1).normal(size=(500, 3)) + v[:, [1]]
    information, entropy = disentanglement.mutual_information(z, v, bins=7)
    for j in range(3):
        bins = np.digitize(z[:, j], np.histogram_bin_edges(z[:, j], 7)[1:-1])
        for column, k in enumerate((1, 2, 3)):
            assert information[j, column] == pytest.approx(mutual_info_score(v[:, k], bins), abs=1e-12)
            assert entropy[column] == pytest.approx(mutual_info_score(v[:, k], v[:, k]))


def test_codes_on_the_edges_of_bins_are_in_the_bin_above():
    # The whole numbers 0 to 49 in 49 bins: each in its own, but for the last two, which share the last.
    v = np.repeat(np.arange(50), 5)[:, None]
    z = np.hstack([v / 1.0, 0.0 * v])
    assert disentanglement.mig(z, v, bins=49) == pytest.approx(1 - np.log(2) / 25 / np.log(50), rel=1e-12)


def test_a_coordinate_that_knows_nothing_shares_exactly_nothing():
    # Independent factors; entropies that are summed in different orders differ in the last digits at these sizes.
    for sizes in ((7, 9), (5, 7)):
        v = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)
        z = np.stack([np.full(len(v), 0.3), v[:, 0]], axis=1)
        information, _ = disentanglement.mutual_information(z, v)
        np.testing.assert_array_equal(information[[0, 0, 1], [0, 1, 1]], 0)
        assert disentanglement.modularity(z[:, :1], v) == 0
        assert disentanglement.modularity(z, v) == 1 / 2


@pytest.mark.parametrize(("levels", "scale"), [(2, 1.0), (3, 0.02), (3, 4.0), (9, 1.0)])
def test_sap_machines_are_those_of_liblinear(levels, scale):
    rng = np.random.default_rng(levels)
    v = rng.choice(levels, (600, 1), p=np.arange(1, levels + 1) / sum(range(levels + 1)))
    z = scale * (rng.normal(size=(600, 2)) + [1.5, 0.0] * v + [1.0, 0.0])
    train, test = slice(400), slice(400, 600)
    accuracy = disentanglement.sap_accuracies(z[train], v[train], z[test], v[test])
    for j in range(2):
        peer = LinearSVC(C=0.01, class_weight="balanced", dual=False, tol=1e-10, max_iter=10**5)
        peer.fit(z[train, j, None], v[train, 0])
        order = np.argsort(z[train, j])
        slope, offset = attribute_predictability._machines(z[train, j][order], v[train, 0][order], levels, 0.01)
        np.testing.assert_allclose(slope, peer.coef_[:, 0], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(offset, peer.intercept_, rtol=1e-5, atol=1e-7)
        right = peer.predict(z[test, j, None]) == v[test, 0]
        expected = np.mean([right[v[test, 0] == level].mean() for level in np.unique(v[test, 0])])
        assert accuracy[j, 0] == pytest.approx(expected)


def test_sap_by_hand():
    # Two factors of two levels: coordinate 1 is the first exactly (accuracy 1), coordinate 2 agrees with it on three of
    # four points (3/4), and with the second factor on half of them, as does coordinate 1: gaps 1/4 and 0.
    v = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [0, 0], [0, 1], [1, 0], [1, 1]])
    z = 10.0 * np.stack([v[:, 0], [1, 0, 0, 1, 0, 0, 1, 1]], axis=1)
    many = [np.tile(array, (50, 1)) for array in (z, v)]
    accuracy = disentanglement.sap_accuracies(*many, z, v)
    np.testing.assert_allclose(accuracy[:, 0], [1, 3 / 4])
    np.testing.assert_allclose(accuracy[:, 1], 1 / 2)
    assert disentanglement.sap(*many, z, v) == pytest.approx(1 / 8)


def test_dci_by_hand(monkeypatch):
    # Importances that are given: coordinate 1 matters to factor 1 alone, coordinate 2 to both, coordinate 3 to none.
    given = iter([np.array([0.5, 0.5, 0.0]), np.array([0.0, 1.0, 0.0])])

    class Known(GradientBoostingClassifier):
        def fit(self, z, y):
            self.answer = next(given)
            return self

        feature_importances_ = property(lambda self: self.answer)

        def predict(self, z):
            return np.zeros(len(z), int)

    monkeypatch.setattr(importance, "GradientBoostingClassifier", Known)
    v = np.stack(np.divmod(np.arange(4), 2), axis=1)
    z = np.zeros((4, 3))
    scores = disentanglement.dci(z, v, z, v, model="boosting")
    entropy = -(1 / 3) * np.log2(1 / 3) - (2 / 3) * np.log2(2 / 3)
    assert scores.disentanglement == pytest.approx((0.5 * 1 + 1.5 * (1 - entropy)) / 2)
    assert scores.completeness == pytest.approx((1 - np.log(2) / np.log(3) + 1) / 2)
    assert scores.informativeness == pytest.approx(1 / 2)


def test_dci_with_boosting_agrees_on_a_perfect_code():
    v = draw(0, 300, (2, 2, 1))
    scores = disentanglement.dci(v / 1.0, v, v / 1.0, v, model="boosting")
    assert min(scores[:3]) > 0.95


def test_codes_without_information_have_no_dci():
    v = draw(0, 100)
    z = np.ones((100, 3))
    assert disentanglement.dci(z, v, z, v)[:2] == (0.0, 0.0)


SAMPLED = {"beta_vae": disentanglement.beta_vae, "factor_vae": disentanglement.factor_vae}
FEW = {"train": 600, "test": 600}


@pytest.mark.parametrize("name", SAMPLED)
def test_sampled_scores_of_perfect_and_useless_codes(name):
    score = SAMPLED[name]
    assert score(sampler(), perfect, rng=np.random.default_rng(0), **FEW) == 1
    low = score(sampler(), useless(), rng=np.random.default_rng(0), **FEW)
    # Chance is 1/3; five standard errors of 600 tries, and what a vote of four coordinates can gain by chance.
    assert 1 / 3 - 0.1 < low < 1 / 3 + 0.1


def test_beta_vae_needs_no_alignment_and_factor_vae_does():
    def mixed(factors):
        return 5 * perfect(factors) @ np.array([[1, 1, 0], [3, -3, 0], [0, 0, 1.0]])

    scores = {name: score(sampler(), mixed, rng=np.random.default_rng(0), **FEW) for name, score in SAMPLED.items()}
    assert scores["beta_vae"] > 0.95 > scores["factor_vae"] > 1 / 3


def test_factor_vae_by_hand():
    # Held still: factor 1 → coordinate 0 has no variance, factor 2 → coordinate 1, factor 3 → neither has, so its points
    # go to one of the others at random: both majorities are right on their own points, and a third of the points is lost.
    score = disentanglement.factor_vae(
        sampler((4, 4, 4)), lambda v: v[:, :2] / 1.0, rng=np.random.default_rng(0), train=3000, test=3000
    )
    assert abs(score - 2 / 3) < 5 * (2 / 9 / 3000) ** 0.5


def test_collapsed_coordinates_have_no_vote():
    def collapsed(factors):
        return 0.01 * perfect(factors)

    assert disentanglement.factor_vae(sampler(), collapsed, rng=np.random.default_rng(0), **FEW) == 0
    assert disentanglement.factor_vae(sampler(), collapsed, rng=np.random.default_rng(0), threshold=1e-3, **FEW) == 1

    def constant_first(factors):
        return np.column_stack([np.ones(len(factors)), perfect(factors)])

    assert disentanglement.factor_vae(sampler(), constant_first, rng=np.random.default_rng(0), threshold=0, **FEW) == 1


def test_points_of_any_number_are_encoded_in_parts_of_one_size(monkeypatch):
    monkeypatch.setattr(codes, "CHUNK", 100)
    rows = []

    def counted(factors):
        rows.append(len(factors))
        return perfect(factors)

    disentanglement.beta_vae(sampler(), counted, rng=np.random.default_rng(0), train=17, test=5, batch=10)
    assert rows == [100, 100, 100, 40, 100]


@pytest.mark.parametrize("name", ARRAY_SCORES)
def test_order_of_latents_factors_and_rows_does_not_matter(name):
    rng = np.random.default_rng(2)
    v, v2 = draw(0, 400), draw(1, 400)
    mixing = rng.normal(size=(3, 3))
    z, z2 = (perfect(factors) @ mixing + 0.1 * rng.normal(size=(400, 3)) for factors in (v, v2))
    score = ARRAY_SCORES[name]
    latents, factors, rows = rng.permutation(3), rng.permutation(4), rng.permutation(400)
    shuffled = score(z[rows][:, latents], v[rows][:, factors], z2[rows][:, latents], v2[rows][:, factors])
    # The forest draws its cuts in the order of the columns, so its scores are those of another seed.
    tolerance = 0.1 if name in ("disentanglement", "completeness", "informativeness") else 1e-9
    assert shuffled == pytest.approx(score(z, v, z2, v2), abs=tolerance)


def test_scores_do_not_depend_on_names_of_levels_or_sign_of_latents():
    v = draw(0, 400)
    z = perfect(v) + 0.1 * np.random.default_rng(0).normal(size=(400, 3))
    assert disentanglement.mig(z, 10 - 3 * v) == pytest.approx(disentanglement.mig(z, v))
    assert disentanglement.sap(z, 10 - 3 * v, z, 10 - 3 * v) == pytest.approx(disentanglement.sap(z, v, z, v), abs=1e-9)
    assert disentanglement.sap(-z, v, -z, v) == pytest.approx(disentanglement.sap(z, v, z, v), abs=1e-9)


def test_active_latents():
    z = np.random.default_rng(0).normal(size=(5000, 3)) * [1.0, 0.2, 0.05]
    assert disentanglement.active_latents(z).tolist() == [True, True, False]
    assert disentanglement.active_latents(z, threshold=0.1).tolist() == [True, False, False]


def test_a_forest_splits_forty_rows():
    v = np.stack([np.arange(40) < 20, np.arange(40) >= 20], axis=1)
    assert disentanglement.dci(v / 1.0, v, v / 1.0, v).informativeness == 1


GOOD = (np.ones((4, 2)), np.arange(8).reshape(4, 2))
FEW_ROWS = (np.ones((39, 2)), np.stack([np.arange(39), np.arange(39)], axis=1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: disentanglement.mig(GOOD[0][:, 0], GOOD[1]), r"codes as real numbers of shape \(N, latent\)"),
        (lambda: disentanglement.mig(GOOD[0][:3], GOOD[1]), r"factors as integers of shape \(3, number of factors\)"),
        (lambda: disentanglement.mig(GOOD[0] * np.nan, GOOD[1]), "finite values in codes"),
        (
            lambda: disentanglement.mutual_information(GOOD[0] * [1e308, -1e308], GOOD[1]),
            r"codes within single .* got 1e\+308",
        ),
        (lambda: disentanglement.mig(GOOD[0][:, :1], GOOD[1]), "at least two latents"),
        (lambda: disentanglement.mig(GOOD[0], GOOD[1] * 0), "a factor of at least two levels"),
        (lambda: disentanglement.mig(*GOOD, bins=1), "at least two bins"),
        (lambda: disentanglement.modularity(GOOD[0], GOOD[1][:, :1]), "at least two factors"),
        (lambda: disentanglement.sap(*GOOD, GOOD[0][:, :1], GOOD[1]), "a test set of 2 latents and 2 factors"),
        (lambda: disentanglement.sap(*GOOD, GOOD[0][:1], GOOD[1]), "factors_test as integers"),
        (lambda: disentanglement.read_factors(*GOOD, *GOOD, hidden=-1), "random features >= 0, got -1"),
        (lambda: disentanglement.sap(*GOOD, *GOOD, C=0.0), "a positive, finite C, got 0.0"),
        (lambda: disentanglement.sap(*GOOD, *GOOD, C=np.inf), "a positive, finite C, got inf"),
        (lambda: disentanglement.active_latents(GOOD[0], threshold=np.nan), "a finite threshold >= 0, got nan"),
        (lambda: disentanglement.dci(*FEW_ROWS, *FEW_ROWS), "at least 40 rows of codes for a forest, got 39"),
        (lambda: disentanglement.dci(*GOOD, *GOOD, model="lasso"), "model 'forest' or 'boosting', got 'lasso'"),
        (
            lambda: disentanglement.beta_vae(sampler((1, 5)), perfect, rng=np.random.default_rng(0)),
            "at least two factors",
        ),
        (
            lambda: disentanglement.factor_vae(sampler(), lambda v: perfect(v)[1:], rng=np.random.default_rng(0)),
            "expected 10000 codes from encode",
        ),
        (
            lambda: disentanglement.factor_vae(sampler(), perfect, rng=np.random.default_rng(0), threshold=np.nan),
            "a finite threshold >= 0, got nan",
        ),
        (
            lambda: disentanglement.beta_vae(sampler(), perfect, rng=np.random.default_rng(0), train=1),
            "train of at least 2",
        ),
    ],
)
def test_wrong_input_gives_a_clear_error(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("score", [disentanglement.beta_vae, disentanglement.factor_vae])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rng": 0}, "expected rng to be a numpy.random.Generator, .* got 0"),
        ({"train": 10.0}, "expected train to be an integer, got 10.0"),
        ({"sampler": GOOD[0]}, "expected data on a grid of factors, .* got ndarray"),
    ],
)
def test_wrong_kinds_give_a_clear_error(score, change, message, unchecked):
    arguments = {"sampler": sampler(), "encode": perfect, "rng": np.random.default_rng(0)} | change
    with pytest.raises(TypeError, match=message):
        score(arguments.pop("sampler"), arguments.pop("encode"), **arguments)


@pytest.mark.parametrize(
    "kind", [np.ndarray.tolist, lambda a: a.astype(np.uint8), lambda a: a.astype(np.float32), jnp.asarray]
)
def test_codes_and_factors_of_every_kind_are_the_numbers_that_they_are(kind, unchecked):
    v = np.stack(np.divmod(np.arange(400) % 16, 4), axis=1)
    codes, known = v @ [[2, 1], [1, 3]], np.random.default_rng(0).permutation(400)
    for score in (disentanglement.mig, disentanglement.modularity):
        assert score(kind(codes), v.tolist()) == score(codes.astype(float), v)
    pairs = (kind(codes[known[:300]]), v[known[:300]].tolist(), kind(codes[known[300:]]), v[known[300:]].tolist())
    plain = (codes[known[:300]].astype(float), v[known[:300]], codes[known[300:]].astype(float), v[known[300:]])
    assert disentanglement.sap(*pairs) == disentanglement.sap(*plain)
    assert disentanglement.dci(*pairs).disentanglement == disentanglement.dci(*plain).disentanglement
    read, want = disentanglement.read_factors(*pairs), disentanglement.read_factors(*plain)
    np.testing.assert_array_equal(read.accuracy, want.accuracy)
