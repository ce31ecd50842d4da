"""The β-VAE: convolutions against XLA's, the loss against closed forms, training that learns, resumes and refuses."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import vae
from snn_ntk.training.checkpoint import Checkpoint
from snn_ntk.vae import training
from snn_ntk.vae.layers import Convolution, Transposed

LAYOUT = ("NHWC", "HWIO", "NHWC")


def hwio(weight, inputs, outputs):
    """The 4×4 kernel of a `Convolution`'s matrix."""
    return weight.reshape(2, 2, 2, 2, inputs, outputs).transpose(0, 2, 1, 3, 4, 5).reshape(4, 4, inputs, outputs)


def xla(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 7), (1, 7)])
def test_convolutions_are_xlas(inputs, outputs):
    @jax.jit
    def differences(key):
        x = jax.random.normal(key, (3, 8, 6, inputs))
        wide, narrow = (Convolution(key, inputs, outputs, kernel) for kernel in (4, 2))
        weight = narrow.weight.reshape(2, 2, inputs, outputs)
        plain = jax.lax.conv_general_dilated(x, weight, (2, 2), "VALID", dimension_numbers=LAYOUT)
        return wide(x) - xla(x, hwio(wide.weight, inputs, outputs)), narrow(x) - plain

    for difference in differences(jax.random.key(0)):
        np.testing.assert_allclose(difference, 0, atol=1e-5)


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 7), (20, 3)])
def test_transposed_convolutions_are_the_adjoint(inputs, outputs):
    @jax.jit
    def difference(key):
        x, layer = jax.random.normal(key, (3, 8, 6, inputs)), Transposed(key, inputs, outputs)
        kernel = layer.weight.transpose(1, 3, 2, 4, 5, 0).reshape(4, 4, outputs, inputs)
        _, transpose = jax.vjp(lambda y: xla(y, kernel), jnp.zeros((3, 16, 12, outputs)))
        return layer(x) - transpose(x)[0]

    np.testing.assert_allclose(difference(jax.random.key(0)), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "shape", "count"),
    [
        # By hand: the study library's layers, with 10 latent variables.
        ("convolutional", (64, 64, 1), 16 * 32 + 32 + 512 * 32 + 32 + 128 * 64 + 64 + 256 * 64 + 64
         + 1024 * 256 + 256 + 256 * 20 + 20 + 10 * 256 + 256 + 256 * 1024 + 1024 + 1024 * 64 + 64 + 1024 * 32 + 32
         + 512 * 32 + 32 + 512 + 1),
        ("dense", (64, 64, 1), 4096 * 1200 + 1200 * 1200 + 1200 * 20 + 10 * 1200 + 2 * 1200 * 1200 + 1200 * 4096
         + 2 * 1200 + 20 + 3 * 1200 + 4096),
    ],
)  # fmt: skip
def test_architectures_have_the_published_sizes(architecture, shape, count):
    model = jax.eval_shape(lambda: vae.VAE(jax.random.key(0), shape, 10, architecture=architecture))
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(model)) == count


@pytest.mark.parametrize("shape", [(64, 64, 1), (32, 32, 3)])
def test_shapes_of_the_convolutional_model(shape):
    def out(x):
        model = vae.VAE(jax.random.key(0), shape, 7)
        return model.decode(model.encode(x)[0])

    assert jax.eval_shape(out, jnp.zeros((2, *shape))).shape == (2, *shape)


def test_loss_terms_against_closed_forms():
    model, rng = small().model, np.random.default_rng(0)
    x = rng.uniform(size=(6, 8, 8, 1)).astype(np.float32)
    noise = rng.normal(size=(6, 4)).astype(np.float32)

    @jax.jit
    def found(x, noise):
        mean, log_variance = model.encode(x)
        z = mean + jnp.exp(log_variance / 2) * noise
        return vae.loss_terms(model, x, noise), mean, log_variance, jax.nn.sigmoid(model.decode(z))

    (reconstruction, kl), mean, log_variance, p = jax.device_get(found(x, noise))
    by_hand = -np.sum(x * np.log(p) + (1 - x) * np.log(1 - p), axis=(1, 2, 3))
    np.testing.assert_allclose(reconstruction, by_hand, rtol=1e-5)
    # The divergence by quadrature of its definition.
    t = np.linspace(-12, 12, 4001)
    for i, j in ((0, 0), (5, 2)):
        s = float(np.exp(log_variance[i, j] / 2))
        q = np.exp(-(((t - float(mean[i, j])) / s) ** 2) / 2) / (s * np.sqrt(2 * np.pi))
        ratio = np.log(np.maximum(q, 1e-300)) + t**2 / 2 + np.log(2 * np.pi) / 2
        np.testing.assert_allclose(kl[i, j], np.trapezoid(q * ratio, t), atol=1e-4)


def bars(n=64, side=8):
    """Images of one vertical and one horizontal bar: two factors."""
    images = np.zeros((n, side, side, 1), np.uint8)
    for i in range(n):
        images[i, i % side] = 255
        images[i, :, (i // side) % side] = 255
    return images


def small(seed=0, latent=4, **options):
    return vae.start_vae(jax.random.key(seed), (8, 8, 1), latent, architecture="dense", width=32, **options)


def test_training_learns_to_reconstruct():
    images = bars()
    state, log = vae.train_vae(small(), images, beta=0.5, steps=800, learning_rate=3e-3, batch=16, rows=8)
    x = images / 255
    p = x.mean(axis=0)
    mean_image = float(np.mean(np.sum(-(x * np.log(p) + (1 - x) * np.log(1 - p)), axis=(1, 2, 3))))
    error, pixels = vae.reconstruct(state.model, images)
    assert error.mean() < 0.7 * mean_image
    assert log.reconstruction[-1] < 0.8 * log.reconstruction[0]
    assert log.steps.tolist() == [100, 200, 300, 400, 500, 600, 700, 800]
    assert pixels.shape == images.shape
    assert (pixels >= 0).all()
    assert (pixels <= 1).all()


def test_a_large_beta_switches_latents_off():
    images = bars()
    weak, _ = vae.train_vae(small(), images, beta=0.5, steps=600, learning_rate=3e-3, batch=16)
    strong, _ = vae.train_vae(small(), images, beta=50.0, steps=600, learning_rate=3e-3, batch=16)
    assert vae.encode(weak.model, images)[0].std(axis=0).max() > 0.5
    assert vae.encode(strong.model, images)[0].std(axis=0).max() < 0.1


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_an_interrupted_run_is_bit_identical(tmp_path, optimizer):
    images, settings = bars(), dict(beta=1.0, learning_rate=1e-2, batch=16, rows=6, optimizer=optimizer)
    whole, log = vae.train_vae(small(optimizer=optimizer), images, steps=60, **settings)

    # Stopped after a row of the log, as by a kill: what counts is the file.
    path, real, rows = tmp_path / "run.npz", Checkpoint.write, []

    def stop(*arguments):
        real(*arguments)
        rows.append(1)
        if len(rows) == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            vae.train_vae(small(optimizer=optimizer), images, steps=60, checkpoint=path, **settings)
    resumed, second = vae.train_vae(small(optimizer=optimizer), images, steps=60, checkpoint=path, **settings)
    for a, b in zip(jax.tree.leaves(training._arrays(whole)), jax.tree.leaves(training._arrays(resumed)), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(log, second, strict=True):
        np.testing.assert_array_equal(a, b)

    # In two calls.
    half, _ = vae.train_vae(small(optimizer=optimizer), images, steps=30, **settings)
    again, _ = vae.train_vae(half, images, steps=60, **settings)
    for a, b in zip(jax.tree.leaves(training._arrays(whole)), jax.tree.leaves(training._arrays(again)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_checkpoints_of_something_else_are_refused(tmp_path):
    images, path = bars(), tmp_path / "run.npz"
    vae.train_vae(small(), images, beta=1.0, steps=4, batch=16, rows=2, checkpoint=path)
    with pytest.raises(ValueError, match="another settings"):
        vae.train_vae(small(), images, beta=2.0, steps=4, batch=16, rows=2, checkpoint=path)
    with pytest.raises(ValueError, match="another seed"):
        vae.train_vae(small(seed=1), images, beta=1.0, steps=4, batch=16, rows=2, checkpoint=path)
    with pytest.raises(ValueError, match="another model"):
        vae.train_vae(small(latent=5), images, beta=1.0, steps=4, batch=16, rows=2, checkpoint=path)
    with pytest.raises(ValueError, match="another images"):
        vae.train_vae(small(), 255 - images, beta=1.0, steps=4, batch=16, rows=2, checkpoint=path)
    one_pixel = images.copy()
    one_pixel[1, 0, 0, 0] ^= 1
    with pytest.raises(ValueError, match="another images"):
        vae.train_vae(small(), one_pixel, beta=1.0, steps=4, batch=16, rows=2, checkpoint=path)
    with pytest.raises(ValueError, match="another model"):
        vae.train_vae(small(activation="relu"), images, beta=1.0, steps=4, batch=16, rows=2, checkpoint=path)
    moved = small()
    moved = moved._replace(model=jax.tree.map(lambda leaf: leaf + 1, moved.model))
    with pytest.raises(ValueError, match="another initial state"):
        vae.train_vae(moved, images, beta=1.0, steps=4, batch=16, rows=2, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="to be a checkpoint"):
        vae.train_vae(small(), images, beta=1.0, steps=4, batch=16, rows=2, checkpoint=path)


def test_a_finished_run_is_extended_as_the_error_says(tmp_path):
    images, settings = bars(), dict(beta=1.0, batch=16)
    whole, _ = vae.train_vae(small(), images, steps=8, **settings)
    path = tmp_path / "run.npz"
    vae.train_vae(small(), images, steps=4, checkpoint=path, **settings)
    with pytest.raises(ValueError, match="another steps; to extend a finished run, read it with its own steps"):
        vae.train_vae(small(), images, steps=8, checkpoint=path, **settings)
    finished, _ = vae.train_vae(small(), images, steps=4, checkpoint=path, **settings)
    longer, _ = vae.train_vae(finished, images, steps=8, checkpoint=tmp_path / "longer.npz", **settings)
    np.testing.assert_array_equal(longer.model.decoder[0].weight, whole.model.decoder[0].weight)


def test_a_training_stops_at_the_step_that_is_not_finite(tmp_path):
    images, path = bars(), tmp_path / "run.npz"
    settings = dict(beta=1.0, learning_rate=1e20, batch=16)
    with pytest.raises(FloatingPointError) as caught:
        vae.train_vae(small(), images, steps=1000, rows=2, checkpoint=path, **settings)
    assert not path.exists()
    step = int(str(caught.value).split("at step ")[1].split(":")[0])
    assert 1 < step < 10
    # It is the first such step: one before, all is finite, and the report does not depend on the rows of the log.
    state, log = vae.train_vae(small(), images, steps=step - 1, **settings)
    assert np.isfinite(log.reconstruction).all()
    with pytest.raises(FloatingPointError, match=f"at step {step}:"):
        vae.train_vae(state, images, steps=1000, rows=1000, **settings)


def test_double_precision_changes_nothing():
    def run():
        state, log = vae.train_vae(small(), bars(), beta=1.0, steps=20, batch=16, rows=2)
        arrays = [log.reconstruction, log.kl, *vae.encode(state.model, bars())]
        return [*arrays, *vae.evaluate(state.model, bars(), key=jax.random.key(1))]

    single = run()
    with jax.enable_x64(True):
        double = run()
    for a, b in zip(single, double, strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_consumed_state_says_so():
    state, images = small(), bars()
    vae.train_vae(state, images, beta=1.0, steps=1, batch=4)
    with pytest.raises(ValueError, match="gone on from and overwritten: use the state that it returned"):
        vae.train_vae(state, images, beta=1.0, steps=2, batch=4)
    with pytest.raises(ValueError, match="gone on from and overwritten"):
        vae.encode(state.model, images)


def test_encoding_in_batches_changes_nothing():
    state, images = small(), bars(10)
    mean, std = vae.encode(state.model, images, batch=4)
    whole, log_variance = jax.jit(lambda x: state.model.encode(x))(images / np.float32(255))
    np.testing.assert_allclose(mean, whole, atol=1e-5)
    np.testing.assert_allclose(std, np.exp(log_variance / 2), rtol=1e-5)


def test_bad_input_is_refused_at_once():
    with pytest.raises(ValueError, match="'convolutional' or 'dense', got 'deep'"):
        vae.start_vae(jax.random.key(0), (64, 64, 1), 3, architecture="deep")
    with pytest.raises(ValueError, match="64×64 or 32×32"):
        vae.start_vae(jax.random.key(0), (28, 28, 1), 3)
    with pytest.raises(ValueError, match="expected latent >= 1"):
        vae.start_vae(jax.random.key(0), (64, 64, 1), 0)
    with pytest.raises(ValueError, match="'adagrad', 'adam'"):
        vae.start_vae(jax.random.key(0), (64, 64, 1), 3, optimizer="sgd")
    with pytest.raises(ValueError, match="expected uint8 images"):
        vae.train_vae(small(), bars() / 255, beta=1.0, steps=1)
    with pytest.raises(ValueError, match="steps >= 0"):
        vae.train_vae(small(), bars(), beta=1.0, steps=-1)
    with pytest.raises(ValueError, match="the optimizer that the state was started with"):
        vae.train_vae(small(), bars(), beta=1.0, steps=1, optimizer="adagrad")


READERS = {
    "encode": lambda images: vae.encode(small().model, images),
    "reconstruct": lambda images: vae.reconstruct(small().model, images),
    "evaluate": lambda images: vae.evaluate(small().model, images, key=jax.random.key(0)),
    "train": lambda images: vae.train_vae(small(), images, beta=1.0, steps=1),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "images",
    [
        bars() / np.float32(255),
        bars().astype(int),
        bars()[..., 0],
        bars().transpose(0, 3, 1, 2),
        np.repeat(bars(), 3, axis=3),
        bars()[0],
        bars(0),
    ],
    ids=["floats", "integers", "no channel", "channels first", "three channels", "one image", "none"],
)
def test_every_reader_of_images_refuses_what_is_not_bytes_of_the_models_shape(unchecked, reader, images):
    with pytest.raises(ValueError, match=r"expected uint8 images of shape \(n, 8, 8, 1\)"):
        reader(images)


def test_the_model_itself_refuses_bytes_and_other_shapes(unchecked):
    model, x = small().model, jnp.zeros((2, 8, 8, 1))
    for other in (x[..., 0], x.transpose(0, 3, 1, 2), x.astype(jnp.uint8)):
        with pytest.raises(ValueError, match=r"expected floats in \[0, 1\]"):
            model.encode(other)
    with pytest.raises(ValueError, match=r"expected codes of shape \(n, 4\)"):
        model.decode(jnp.zeros((2, 1)))
    with pytest.raises(ValueError, match=r"expected noise of shape \(2, 4\), got \(4,\)"):
        vae.loss_terms(model, x, jnp.zeros(4))


def test_sizes_may_be_numpys_and_lists_or_are_refused(unchecked):
    state = vae.start_vae(jax.random.key(0), [8, np.int64(8), 1], np.int64(4), architecture="dense", width=np.int32(32))
    assert (state.model.shape, state.model.latent) == ((8, 8, 1), 4)
    np.testing.assert_array_equal(state.model.decoder[0].weight, small().model.decoder[0].weight)
    vae.train_vae(state, bars(), beta=np.float64(1), steps=np.int64(2), batch=np.int64(4))
    for shape in ((8, 8), 8, (8.0, 8, 1), (8, 8, 0)):
        with pytest.raises(ValueError, match=r"shape \(height, width, channels\)"):
            vae.start_vae(jax.random.key(0), shape, 4, architecture="dense")
    with pytest.raises(TypeError, match="expected latent to be an integer, got"):
        vae.start_vae(jax.random.key(0), (8, 8, 1), 4.5, architecture="dense")


def test_several_models_are_checked_as_one_is():
    run = partial(vae.train_vaes, images=bars(), beta=1.0, learning_rate=1e-3)
    for options, message in (
        ({"batch": 0}, "batch >= 1"),
        ({"optimizer": "sgd"}, "'adagrad'"),
        ({"beta": -1.0}, "beta"),
    ):
        with pytest.raises(ValueError, match=message):
            run([small()], **{"steps": 2} | options)
    with pytest.raises(ValueError, match="at least one state"):
        run([], steps=2)
    with pytest.raises(ValueError, match="steps >= 0"):
        run([small()], steps=-4)
    for other in (small(optimizer="adagrad"), small(latent=5), small(seed=1, latent=3)):
        with pytest.raises(ValueError, match="one architecture, size and optimizer, got 2 kinds"):
            run([small(), other], steps=2)
    consumed = small()
    vae.train_vae(consumed, bars(), beta=1.0, steps=1, batch=4)
    with pytest.raises(ValueError, match="gone on from and overwritten"):
        run([small(), consumed], steps=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": float("nan")}, "finite beta"),
        ({"beta": -1.0}, "finite beta"),
        ({"learning_rate": float("inf")}, "finite learning_rate"),
        ({"steps": 1.5}, "whole number of steps"),
        ({"batch": 0}, "batch >= 1"),
        ({"rows": 0}, "rows >= 1"),
        ({"optimizer": "sgd"}, "'adagrad', 'adam'"),
    ],
)
def test_numbers_that_cannot_train_are_refused(unchecked, options, message):
    with pytest.raises(ValueError, match=message):
        vae.train_vae(small(), bars(), **{"beta": 1.0, "steps": 1} | options)


@pytest.mark.parametrize("horizon", ["5", float("nan"), 5.0])
def test_a_horizon_is_a_whole_number_of_steps(unchecked, horizon):
    with pytest.raises(TypeError, match=f"expected horizon to be an integer, got {horizon!r}"):
        vae.train_vae(small(), bars(), beta=1.0, steps=1, horizon=horizon)


def test_keys_of_other_generators_train_alone_and_go_on_from_their_own_checkpoint_only(tmp_path):
    images, settings = bars(), dict(beta=1.0, steps=4, batch=4, rows=2)

    def start(generator):
        return small()._replace(key=jax.random.key(0, impl=generator))

    whole, _ = vae.train_vae(start("rbg"), images, **settings)
    path = tmp_path / "run.npz"
    vae.train_vae(start("rbg"), images, checkpoint=path, **settings)
    read, _ = vae.train_vae(start("rbg"), images, checkpoint=path, **settings)
    assert read.key == whole.key
    np.testing.assert_array_equal(read.model.decoder[0].weight, whole.model.decoder[0].weight)
    # The keys of one seed are the same four numbers.
    with pytest.raises(ValueError, match="a checkpoint of another generator"):
        vae.train_vae(start("unsafe_rbg"), images, checkpoint=path, **settings)
    with pytest.raises(ValueError, match="expected keys of the generator 'threefry2x32', got 'rbg'"):
        vae.train_vaes([small(), start("rbg")], images, learning_rate=1e-3, **settings)


def test_a_falling_rate_ends_at_rest_and_is_cut_into_stretches_without_a_trace():
    images, settings = bars(), dict(beta=1.0, learning_rate=1e-2, batch=16, horizon=60)
    whole, _ = vae.train_vae(small(), images, steps=60, rows=1, **settings)
    part, _ = vae.train_vae(small(), images, steps=20, rows=1, **settings)
    part, _ = vae.train_vae(part, images, steps=60, rows=1, **settings)
    same = jax.tree.map(np.array_equal, *(eqx.filter(state.model, eqx.is_array) for state in (whole, part)))
    assert all(jax.tree.leaves(same))
    weight = np.asarray(part.model.decoder[0].weight)  # its arrays are overwritten next
    # Beyond the horizon nothing moves, and without one it does.
    later, _ = vae.train_vae(part, images, steps=80, rows=1, **settings)
    np.testing.assert_array_equal(later.model.decoder[0].weight, weight)
    moved, _ = vae.train_vae(later, images, steps=100, rows=1, **settings | {"horizon": None})
    assert not np.array_equal(moved.model.decoder[0].weight, weight)
    with pytest.raises(ValueError, match="expected horizon >= 1, got 0"):
        vae.train_vae(small(), images, steps=1, **settings | {"horizon": 0})


def test_both_terms_of_many_images_are_those_of_few():
    images, model = bars(), small().model
    reconstruction, kl = vae.evaluate(model, images, key=jax.random.key(3), batch=5)
    noise = jax.random.normal(jax.random.key(3), (len(images), model.latent))
    expected = vae.loss_terms(model, jnp.asarray(images, jnp.float32) / 255, noise)
    np.testing.assert_allclose(reconstruction, expected[0], rtol=1e-5)
    np.testing.assert_allclose(kl, expected[1], rtol=1e-5, atol=1e-6)
