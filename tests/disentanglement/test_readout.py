"""Reading factors from codes: by hand, at codes that hold all and nothing, and the cover of the intervals."""

import numpy as np
import pytest
from scipy import stats

from snn_ntk.disentanglement import random_projection, read_factors

SIZES = (2, 3, 5)


def draw(seed, n):
    return np.random.default_rng(seed).integers(0, SIZES, (n, 3))


def indicators(factors):
    return np.concatenate([factors[:, [k]] == np.arange(size) for k, size in enumerate(SIZES)], axis=1).astype(float)


def test_all_is_read_from_indicators_and_nothing_from_noise():
    v, v2 = draw(0, 800), draw(1, 800)
    full = read_factors(indicators(v), v, indicators(v2), v2)
    np.testing.assert_array_equal(full.accuracy, 1)
    np.testing.assert_allclose(full.chance, [1 / 2, 1 / 3, 1 / 5])
    assert (full.interval[:, 0] > 0.97).all()
    noise = np.random.default_rng(2).normal(size=(1600, 10))
    empty = read_factors(noise[:800], v, noise[800:], v2, level=0.999)
    assert ((empty.interval[:, 0] < empty.chance) & (empty.chance < empty.interval[:, 1])).all()


def test_only_what_the_code_holds_is_read():
    v, v2 = draw(0, 800), draw(1, 800)
    held = read_factors(indicators(v)[:, 2:5], v, indicators(v2)[:, 2:5], v2)
    assert held.accuracy[1] == 1
    assert (abs(held.accuracy - held.chance)[[0, 2]] < 0.1).all()


def test_accuracy_and_interval_by_hand():
    # The code is the factor but for one of four points of level 0: accuracies 3/4 and 1, balanced 7/8. At the level of
    # z = 2 one right and one wrong are added to each of two levels: 4/6 and 5/6, mean 3/4, error √(8/36/6 + 5/36/6)/2.
    v = np.array([[0]] * 4 + [[1]] * 4)
    fit = np.array([[0.0]] * 4 + [[1.0]] * 4)
    test = fit.copy()
    test[0] = 1
    found = read_factors(fit, v, test, v, level=float(2 * stats.norm.cdf(2) - 1))
    assert found.accuracy[0] == pytest.approx(7 / 8)
    error = (13 / 36 / 6) ** 0.5 / 2
    np.testing.assert_allclose(found.interval[0], [3 / 4 - 2 * error, 3 / 4 + 2 * error], rtol=1e-6)


def test_a_factor_of_one_level_leaves_nothing_to_read():
    v, v2 = draw(0, 200) * [1, 0, 1], draw(1, 200) * [1, 0, 1]
    found = read_factors(indicators(v), v, indicators(v2), v2)
    assert (found.accuracy[1], found.chance[1], found.skill[1]) == (1, 1, 0)
    np.testing.assert_array_equal(found.skill[[0, 2]], 1)


def test_levels_that_are_rare_count_as_much():
    v = np.array([[0]] * 990 + [[1]] * 10)
    z = np.zeros((1000, 1))
    assert read_factors(z, v, z, v).accuracy[0] == 0.5


@pytest.mark.parametrize(
    ("levels", "images", "accuracy"),
    [(2, 100, 0.8), (10, 50, 0.98), (15, 100, 0.98), (10, 50, 0.998), (5, 10, 0.9)],
)
def test_intervals_cover(levels, images, accuracy):
    """A code that is the level with this probability: 95% intervals hold it so often, and the accuracy always."""
    rng = np.random.default_rng(0)
    covered, runs = 0, 400
    fit, v = np.eye(levels).repeat(2, axis=0), np.repeat(np.arange(levels), images)
    for _ in range(runs):
        answer = np.where(rng.random(v.size) < accuracy, v, (v + rng.integers(1, levels, v.size)) % levels)
        found = read_factors(fit, fit.argmax(1)[:, None], np.eye(levels)[answer], v[:, None])
        low, high = found.interval[0]
        assert low <= found.accuracy[0] <= high
        covered += low <= accuracy <= high
    assert covered >= 0.93 * runs


@pytest.mark.parametrize("level", [0.1, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("levels", [2, 10])
@pytest.mark.parametrize("images", [1, 50])
def test_an_interval_holds_its_accuracy_where_all_is_right_and_where_nothing_is(level, levels, images):
    fit, v = np.eye(levels).repeat(2, axis=0), np.repeat(np.arange(levels), images)
    for shift, accuracy in ((0, 1), (1, 0)):
        codes = np.eye(levels)[(v + shift) % levels]
        found = read_factors(fit, fit.argmax(1)[:, None], codes, v[:, None], level=level)
        assert found.accuracy[0] == accuracy
        low, high = found.interval[0]
        assert low <= accuracy <= high
        assert 0 < high - low < 1


def test_random_features_read_what_is_not_linear():
    v, v2 = draw(0, 1500), draw(1, 1500)

    def xor(factors):
        noise = np.random.default_rng(len(factors) + factors[0, 0]).choice([-1.0, 1.0], len(factors))
        return np.stack([noise, noise * (2 * factors[:, 0] - 1)], axis=1)

    assert read_factors(xor(v), v, xor(v2), v2).accuracy[0] < 0.6
    assert read_factors(xor(v), v, xor(v2), v2, hidden=50).accuracy[0] == 1


def test_scales_and_unused_latents_do_not_matter():
    v, v2 = draw(0, 400), draw(1, 400)
    z, z2 = (indicators(each) + 0.5 * np.random.default_rng(len(each)).normal(size=(400, 10)) for each in (v, v2))
    wide = [np.column_stack([1e4 * each + 7, np.full(400, 0.3), np.zeros(400)]) for each in (z, z2)]
    np.testing.assert_allclose(
        read_factors(wide[0], v, wide[1], v2).accuracy, read_factors(z, v, z2, v2).accuracy, atol=1e-9
    )


def test_random_projections_keep_inner_products_and_depend_on_the_seed():
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    codes = random_projection(images, 20_000, rng=np.random.default_rng(1))
    flat = images.reshape(6, -1).astype(float)
    np.testing.assert_allclose(codes @ codes.T / 20_000, flat @ flat.T / 768, rtol=0.05)
    again = random_projection(images[3:], 20_000, rng=np.random.default_rng(1))
    np.testing.assert_allclose(again, codes[3:], rtol=1e-4, atol=1e-2)
    assert not np.allclose(random_projection(images, 5, rng=np.random.default_rng(2)), codes[:, :5])


V = draw(0, 50)
Z = indicators(V)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_factors(Z[1:], V, Z, V), r"factors as integers of shape \(49, number of factors\)"),
        (lambda: read_factors(Z, V, Z[:, 1:], V), "a test set of 10 latents and 3 factors"),
        (lambda: read_factors(Z, 0 * V, Z, V), "the same levels of factor 0 to fit and held out"),
        (lambda: read_factors(Z, V, Z, np.minimum(V, 3)), "the same levels of factor 2"),
        (lambda: read_factors(Z, V, Z, V, level=1.0), "between 0 and 1, got 1.0"),
        (lambda: random_projection(Z, 0, rng=np.random.default_rng(0)), "latent"),
    ],
)
def test_wrong_input_gives_a_clear_error(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call()
