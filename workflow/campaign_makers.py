"""How a campaign makes each kind of run, and times a few of its steps beforehand.

Each chapter with a sweep has a `Maker`; runs that differ in their seed are made side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from snn_ntk.experiments import asymmetrical_scaling, disentanglement, vae_settings, weight_movement
from snn_ntk.experiments.figure2_targets import figure2_targets
from snn_ntk.paper.figure2_network import in_basis
from snn_ntk.vae.model import loss_terms

__all__ = ["MAKERS", "Maker", "Step", "figure2_step", "floor"]

# Bytes and float32 operations a second, as their maker states them: a step's floor.
CARDS = {
    "NVIDIA H200": (4.8e12, 67e12),
    "NVIDIA H100 80GB HBM3": (3.35e12, 67e12),
    "NVIDIA A100-SXM4-80GB": (2.0e12, 19.5e12),
}
TIMED = (4, 64)  # steps: the second number where the first are quick


class Step(NamedTuple):
    """What a step of some runs side by side takes, and the least that it could.

    Attributes:
        seconds: Measured.
        bytes: Weights read by the forward and by the backward pass and written, the optimiser's numbers likewise.
        operations: Of the gradient, as XLA counts them.
    """

    seconds: float
    bytes: float
    operations: float


class Maker(NamedTuple):
    """How runs are made: `step(seeds, parameters)` times a step, `make(seeds, checkpoint, parameters)` makes them."""

    step: Callable[[Sequence[int], dict[str, Any]], Step]
    make: Callable[[Sequence[int], Path, dict[str, Any]], list[dict[str, Any]]]


def _timed(advance: Callable[[int], Any]) -> float:
    """Seconds a step: `advance(n)` makes n steps and ends when they are made."""
    advance(2)  # compiles
    seconds = float("inf")
    for steps in TIMED:
        began = time.perf_counter()
        advance(steps)
        seconds = (time.perf_counter() - began) / steps
        if seconds > 0.05:
            break
    return seconds


def _cost(loss: Callable[..., Any], weights: Any, *others: Any, moments: int = 0) -> tuple[float, float]:
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(weights))
    counted = jax.jit(jax.grad(loss)).lower(weights, *others).cost_analysis() or {}
    return size * (3 + 2 * moments), float(counted.get("flops", 0.0))


def figure2_step(seeds: Sequence[int], parameters: dict[str, Any]) -> Step:
    chosen = {key: value for key, value in parameters.items() if key not in ("outputs", "targets", "n", "steps")}
    data = weight_movement.datasets.mnist(parameters["n"])
    x = in_basis(jnp.asarray(data.images, jnp.float32))
    goal = figure2_targets(data, parameters["targets"], parameters["outputs"])
    last: list[Any] = []

    def advance(steps: int) -> None:
        last[:] = [weight_movement.train_figure2(x, goal, seeds=seeds, steps=steps, record_at=[0, steps], **chosen)]

    seconds = _timed(advance)
    bytes_, operations = _cost(weight_movement.FROZEN, *(jax.tree.map(lambda leaf: leaf[0], p) for p in last[0][-2:]))
    return Step(seconds, len(seeds) * bytes_, len(seeds) * operations)


def _vae_step(seeds: Sequence[int], parameters: dict[str, Any]) -> Step:
    how = vae_settings.setting_named(parameters["setting"])
    _, images = disentanglement.grid_of(parameters["data"], how.side, parameters.get("levels"))
    on_device = jax.device_put(images)
    states = [vae_settings.begin(how, images.shape[1:], parameters["m"], seed) for seed in seeds]

    def advance(steps: int) -> None:
        nonlocal states
        stop = int(states[0].step) + steps
        choices: Any = {"beta": parameters["beta"], "steps": stop, "end": stop, "rows": 1, "checkpoint": None}
        states = [state for state, _ in vae_settings.train_all_at(how, states, on_device, **choices)]

    seconds = _timed(advance)
    weights, rest = eqx.partition(states[0].model, eqx.is_array)

    def loss(weights: Any, x: Any, noise: Any) -> Any:
        reconstruction, kl = loss_terms(eqx.combine(weights, rest), x, noise)
        return jnp.mean(reconstruction) + parameters["beta"] * jnp.sum(jnp.mean(kl, axis=0))

    x = jax.ShapeDtypeStruct((how.batch, *images.shape[1:]), jnp.float32)
    noise = jax.ShapeDtypeStruct((how.batch, parameters["m"]), jnp.float32)
    bytes_, operations = _cost(loss, weights, x, noise, moments=2)
    return Step(seconds, len(seeds) * bytes_, len(seeds) * operations)


def _scaled_step(seeds: Sequence[int], parameters: dict[str, Any]) -> Step:
    configuration = {c.name: c for c in asymmetrical_scaling.CONFIGURATIONS}[parameters["configuration"]]
    data = asymmetrical_scaling.scaling_data(parameters["data"], seeds[0])
    run = asymmetrical_scaling.draw_run(data, configuration, seed=seeds[0])
    seconds = _timed(lambda steps: asymmetrical_scaling.train_scaled(run, steps=steps))
    bytes_, operations = _cost(asymmetrical_scaling.training_risk, run.start, run)
    return Step(len(seeds) * seconds, len(seeds) * bytes_, len(seeds) * operations)


MAKERS = {
    "09-weight-movement": Maker(
        figure2_step,
        lambda seeds, checkpoint, p: weight_movement.weight_movement_runs(seeds=seeds, checkpoint=checkpoint, **p),
    ),
    "10-disentanglement": Maker(
        _vae_step,
        lambda seeds, checkpoint, p: disentanglement.disentanglement_runs(
            seeds=seeds, checkpoint=checkpoint.with_suffix(""), **p
        ),
    ),
    "13-asymmetrical-scaling": Maker(
        _scaled_step,
        lambda seeds, checkpoint, p: [
            asymmetrical_scaling.run_asymmetrical_scaling(
                seed=seed, checkpoint=checkpoint.with_stem(f"{checkpoint.stem}-{seed}"), **p
            )
            for seed in seeds
        ],
    ),
}


def floor(step: Step) -> dict[str, float]:
    """Bytes and operations of a step, and the milliseconds that they take a card whose rates are known."""
    found = {"bytes": step.bytes, "operations": step.operations}
    if rates := CARDS.get(jax.devices()[0].device_kind):
        found["floor_milliseconds"] = 1e3 * max(step.bytes / rates[0], step.operations / rates[1])
    return found
