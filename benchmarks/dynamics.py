"""The time of a training step over the time of its own matrix products, measured in turns within one run.

    python benchmarks/dynamics.py [--widths 64 256 1024 4096] [--repeats 7] [--seconds 1.0]

The network is that of the paper's Figure 2 (128 images in the basis of their span, 784 outputs, float32). The products
alone are the eleven of a step, forward and backward, with the same shapes in one compiled loop: each turn's results are
the next turn's factors, so that none can be left out or moved out of the loop, and nothing else is computed.
"""

import argparse
import json
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from snn_ntk.paper import draw_figure2_problem, figure2_objective
from snn_ntk.training import gradient_descent

N, OUTPUTS = 128, 784
frozen = partial(figure2_objective, activation=jnp.tanh)


def fresh(params, problem, key):
    return figure2_objective(params, problem, key, activation=jnp.tanh)


def chain(x, weights):
    """The matrix products of a step in the order in which it makes them."""
    h = [x]
    for w in weights:
        h.append(h[-1] @ w)
    delta, new = h[-1], []
    for layer in reversed(range(4)):
        new.append(h[layer].T @ delta)
        if layer:
            delta = delta @ weights[layer].T
    return tuple(reversed(new))


@jax.jit
def products(x, weights, count):
    return jax.lax.fori_loop(0, count, lambda _, w: jax.vmap(chain)(x, w), weights)


@jax.jit
def products_of_one(x, weights, count):
    return jax.lax.fori_loop(0, count, lambda _, w: chain(x, w), weights)


def contenders(width, runs, noise):
    """Two functions of a number of steps: training, and its products alone."""
    x = jax.random.normal(jax.random.key(0), (N, N)) / np.sqrt(N)
    y = jnp.zeros((N, OUTPUTS))
    keys = jax.random.split(jax.random.key(1), runs)
    sigma0 = 0.0 if noise == "none" else 0.5
    draw = jax.jit(partial(draw_figure2_problem, width=width, activation=jnp.tanh, sigma0=sigma0))
    problem = draw(keys[0], x, y) if runs == 1 else jax.vmap(lambda k: draw(k, x, y))(keys)
    if noise == "none":
        problem = problem._replace(noise=None)
    key = jax.random.key(2) if noise == "fresh" else None

    def train(steps):
        run = gradient_descent(
            fresh if noise == "fresh" else frozen, problem.start, learning_rate=1e-3, steps=steps, record_at=np.array([], int),
            args=problem, batched=runs > 1, progress=False, key=key,
        )  # fmt: skip
        jax.block_until_ready(run.params)

    zeros = tuple(jnp.zeros_like(w) for w in problem.start[:4])
    multiply = products_of_one if runs == 1 else products

    def alone(steps):
        jax.block_until_ready(multiply(problem.inputs, zeros, steps))

    return train, alone


def clock(function, steps):
    start = time.perf_counter()
    function(steps)
    return (time.perf_counter() - start) / steps


def measure(width, runs, noise, repeats, seconds):
    train, alone = contenders(width, runs, noise)
    for function in (train, alone):
        clock(function, 2)  # compile
    steps = max(4, int(seconds / clock(alone, 4)))
    # In turns, so that whatever else the machine does falls on both; the ratio is taken turn by turn.
    pairs = np.array([(clock(train, steps), clock(alone, steps)) for _ in range(repeats)])
    ratios = np.sort(pairs[:, 0] / pairs[:, 1])
    return {
        "width": width,
        "runs": runs,
        "noise": noise,
        "steps": steps,
        "step_ms": round(1e3 * float(pairs[:, 0].min()), 3),
        "products_ms": round(1e3 * float(pairs[:, 1].min()), 3),
        "ratio_of_fastest": round(float(pairs[:, 0].min() / pairs[:, 1].min()), 3),
        "ratio_median": round(float(np.median(ratios)), 3),
        "ratio_range": [round(float(r), 3) for r in (ratios[0], ratios[-1])],
    }


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256, 1024, 4096])
    parser.add_argument("--noise", nargs="+", default=["none", "frozen", "fresh"], choices=["none", "frozen", "fresh"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of products in each repeat")
    arguments = parser.parse_args()
    cases = [(m, 1) for m in arguments.widths] + [(64, 8)]
    for width, runs in cases:
        for noise in arguments.noise:
            print(json.dumps(measure(width, runs, noise, arguments.repeats, arguments.seconds)), flush=True)


if __name__ == "__main__":
    main()
