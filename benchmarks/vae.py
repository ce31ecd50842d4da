"""The time of a training step of the β-VAE over the time of its own convolutions and products, in turns within one run.

    python benchmarks/vae.py [--models convolutional dense] [--contenders train] [--repeats 7] [--steps 5]

Three contenders for each model: a step of `snn_ntk.vae.train_vae`; the matrix products of that step alone, forward and
backward, with the same shapes in one compiled loop (each turn's results are the next turn's factors, so that none can be
left out); and a step of the same model written with XLA's convolutions, as one would write it first, which takes seconds
on a CPU. The rate of one large square product says how well the machine multiplies where shapes are no obstacle.
"""

import argparse
import json
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from snn_ntk import vae
from snn_ntk.vae import layers
from snn_ntk.vae.training import OPTIMIZERS

BATCH = 64
SIDE = 2048  # of the large product
LAYOUT = ("NHWC", "HWIO", "NHWC")
MODELS = {
    "convolutional": dict(architecture="convolutional", shape=(64, 64, 1)),
    "convolutional, colour": dict(architecture="convolutional", shape=(64, 64, 3)),
    "dense": dict(architecture="dense", shape=(64, 64, 1)),
    "dense, small": dict(architecture="dense", shape=(32, 32, 1), width=256),
}


class Convolution(layers.Convolution):
    """The same layer by XLA's convolution."""

    def __call__(self, x):
        k, o = self.kernel, self.weight.shape[1]
        kernel = self.weight.reshape(k, k, x.shape[-1], o)
        pad = ((1, 1), (1, 1)) if k == 4 else "VALID"
        return jax.lax.conv_general_dilated(x, kernel, (2, 2), pad, dimension_numbers=LAYOUT) + self.bias


class Transposed(layers.Transposed):
    """The same layer by XLA's transposed convolution."""

    def __call__(self, x):
        c, o = self.weight.shape[0], self.weight.shape[-1]
        kernel = self.weight.reshape(4, 4, c, o)
        return jax.lax.conv_transpose(x, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT) + self.bias


def plain(state):
    """The model with XLA's convolutions."""
    same = {layers.Convolution: Convolution, layers.Transposed: Transposed}

    def swap(layer):
        kind = same.get(type(layer))
        if kind is None:
            return layer
        new = object.__new__(kind)
        for name in layer.__dataclass_fields__:
            object.__setattr__(new, name, getattr(layer, name))
        return new

    model = state.model
    both = lambda m: (m.encoder, m.decoder)  # noqa: E731
    model = eqx.tree_at(both, model, ([swap(la) for la in model.encoder], [swap(la) for la in model.decoder]))
    return state._replace(model=model, moments=OPTIMIZERS["adam"].init(eqx.filter(model, eqx.is_array)))


def shapes(model):
    """(rows, inner, columns) of the product of every layer of a step, for a batch."""
    found, side = [], model.shape[0]
    for layer in model.encoder:
        if isinstance(layer, layers.Convolution):
            side //= 2
            inner, outputs = layer.weight.shape
            if layer.kernel == 4 and inner > 4 * outputs:  # the product comes before neighbours are added up
                found.append((BATCH * (side + 1) ** 2, inner // 4, 4 * outputs))
            else:
                found.append((BATCH * side * side, inner, outputs))
        else:
            found.append((BATCH, *layer.weight.shape))
    side = 4
    for layer in model.decoder:
        if isinstance(layer, layers.Transposed):
            c, o = layer.weight.shape[0], layer.weight.shape[-1]
            gather = c <= 4 * o
            found.append((BATCH * (side + 1) ** 2, 4 * c, 4 * o) if gather else (BATCH * side * side, c, 16 * o))
            side *= 2
        else:
            found.append((BATCH, *layer.weight.shape))
    return found


def flops(model):
    """Of the products of a step; the first layer's input needs no gradient."""
    return sum(2 * np.prod(sizes) * (2 if i == 0 else 3) for i, sizes in enumerate(shapes(model)))


@jax.jit
def products(inputs, weights, gradients, count):
    """Forward and both backward products of every layer; the first layer's input needs no gradient."""

    def body(_, carry):
        inputs, weights, gradients = carry
        new = []
        for i, (x, w, g) in enumerate(zip(inputs, weights, gradients, strict=True)):
            new.append((x if i == 0 else g @ w.T, x.T @ g, x @ w))
        return tuple(zip(*new, strict=True))

    return jax.lax.fori_loop(0, count, body, (inputs, weights, gradients))


@jax.jit
def square(a, count):
    """A product that nothing but the machine's rate limits."""
    return jax.lax.fori_loop(0, count, lambda _, b: a @ b, a)


def contenders(shape, latent, **options):
    key = jax.random.key(0)
    images = np.asarray(jax.random.randint(key, (256, *shape), 0, 256), np.uint8)
    images = jax.device_put(images)
    start = vae.start_vae(key, shape, latent, **options)
    zeros = tuple(
        tuple(jnp.zeros(s) for s in triple)
        for triple in zip(*[((r, i), (i, c), (r, c)) for r, i, c in shapes(start.model)], strict=True)
    )
    states = {"train": start, "xla": plain(vae.start_vae(key, shape, latent, **options))}

    def run(name):
        def steps(count):
            state = states[name]
            states[name], _ = vae.train_vae(
                state, images, beta=1.0, steps=int(state.step) + count, batch=BATCH, rows=1, progress=False
            )
            jax.block_until_ready(states[name].step)

        return steps

    def alone(count):
        jax.block_until_ready(products(*zeros, count))

    found = {"train": run("train"), "products": alone}
    found["square"] = lambda count: jax.block_until_ready(square(jnp.zeros((SIDE, SIDE)), count))
    return found | ({"xla": run("xla")} if options["architecture"] == "convolutional" else {}), flops(
        states["train"].model
    )


def clock(function, steps):
    start = time.perf_counter()
    function(steps)
    return (time.perf_counter() - start) / steps


def measure(name, latent, chosen, repeats, steps):
    functions, work = contenders(latent=latent, **MODELS[name])
    functions = {key: function for key, function in functions.items() if key in (*chosen, "products", "square")}
    for function in functions.values():
        clock(function, 1)  # compile
    # In turns, so that whatever else the machine does falls on all; ratios are taken turn by turn.
    turns = np.array([[clock(function, steps) for function in functions.values()] for _ in range(repeats)])
    best = dict(zip(functions, 1e3 * turns.min(axis=0), strict=True))
    alone = turns[:, list(functions).index("products")]
    ratios = {f"{key}_over_products": turns[:, i] / alone for i, key in enumerate(functions) if key in chosen}
    report = {"model": name, "latent": latent, "device": jax.devices()[0].device_kind}
    report |= {f"{key}_ms": round(value, 3) for key, value in best.items()}
    report |= {key: round(float(np.median(values)), 3) for key, values in ratios.items()}
    report |= {
        "products_gflops": round(work / best["products"] / 1e6),
        "square_gflops": round(2 * SIDE**3 / best["square"] / 1e6),
    }
    return report


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--contenders", nargs="+", default=["train", "xla"], choices=["train", "xla"])
    parser.add_argument("--latent", type=int, nargs="+", default=[10, 200])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    for name in arguments.models:
        for latent in arguments.latent:
            print(
                json.dumps(measure(name, latent, arguments.contenders, arguments.repeats, arguments.steps)), flush=True
            )


if __name__ == "__main__":
    main()
