"""The choices that the slopes of Figure 2 may depend on: one change at a time, trained at several widths."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from snn_ntk import datasets
from snn_ntk.experiments.figure2_targets import figure2_targets
from snn_ntk.experiments.weight_movement import power_steps, train_figure2
from snn_ntk.paper.figure2_network import in_basis

__all__ = ["FIGURE2_CHOICES", "run_choice"]

# Of 128 images the printed network of width 128 is stable up to a rate of 0.45 at its start, and the infinitely wide one
# with ten outputs up to 8.88: `stability_edge` and the limit's kernels, in the notebook.
FIGURE2_CHOICES: dict[str, dict[str, Any]] = {
    "start-at-zero": {"initial_output": 0.0},
    "ten-classes": {"targets": "classes"},
    "784-outputs-stable": {"outputs": 784, "learning_rate": 0.4},
    "784-outputs-stable-start-at-zero": {"outputs": 784, "learning_rate": 0.4, "initial_output": 0.0},
    "784-outputs": {"outputs": 784},
    "no-noise": {"sigma0": 0.0},
    "more-noise": {"sigma0": 1.0},
    "one-sample": {"samples": 1},
    "one-fresh-sample": {"samples": 1, "noise": "fresh"},
    "kl-term": {"beta": 0.01},
    "sigma-trained": {"train_sigma": True},
    "small-rate": {"learning_rate": 1.0},
    "small-inputs": {"input_scale": 1 / 28},
    "rate-above-edge": {"learning_rate": 13.3},
}


def run_choice(
    *,
    choice: str,
    narrowest: int,
    widest: int,
    seeds: int,
    steps: int,
    n: int = 128,
    outputs: int = 10,
    learning_rate: float = 4.0,
    sigma0: float = 0.5,
    samples: int = 2,
) -> dict[str, Any]:
    """Networks of Figure 2 at one change from the settings given, at each width the seeds side by side.

    Args:
        choice: One of `FIGURE2_CHOICES`, what is other than the settings that follow.
        narrowest: The first width; each next one is twice the one before.
        widest: Up to which width.
        seeds: Number of seeds.
        steps: Of training.
        n: Number of images.
        outputs: As in `principal_coordinates`.
        learning_rate: The rate η.
        sigma0: Scale σ0 of the noise.
        samples: Number S of frozen noise samples.

    Returns:
        What JSON can hold, namely `source`, of the data; `widths`; and for each width `steps`, powers of two up to the last at
        which all is finite; `relative` (r, seeds, 4), the layers' movement over their initial norms; `left` (r, seeds),
        the squared error over the targets' squared norm.

    Raises:
        ValueError: If the choice is unknown.

    Example:
        >>> run = run_choice(choice="no-noise", narrowest=8, widest=16, seeds=2, steps=2, n=4)
        >>> run["widths"], run["steps"], np.shape(run["relative"])
        ([8, 16], [[0, 1, 2], [0, 1, 2]], (2, 3, 2, 4))

    Source: book, chapter 9.
    """
    if choice not in FIGURE2_CHOICES:
        raise ValueError(f"expected a choice, one of {sorted(FIGURE2_CHOICES)}, got {choice!r}")
    settings: dict[str, Any] = dict(learning_rate=learning_rate, sigma0=sigma0, samples=samples)
    settings |= {"outputs": outputs, "targets": "images", "input_scale": 1.0} | FIGURE2_CHOICES[choice]
    data = datasets.mnist(n)
    goal = figure2_targets(data, settings.pop("targets"), settings.pop("outputs"))
    x = settings.pop("input_scale") * in_basis(jnp.asarray(data.images, jnp.float32))
    doublings = range((widest // narrowest).bit_length())
    report: dict[str, Any] = {"source": data.source, "widths": [narrowest * 2**k for k in doublings]}
    report |= {"steps": [], "relative": [], "left": []}
    for width in report["widths"]:
        found = train_figure2(
            x, goal, width=width, seeds=range(seeds), steps=steps, record_at=power_steps(steps), **settings
        )
        fine = np.isfinite(found.relative).all((1, 2)) & np.isfinite(found.left).all(1)
        kept = slice(None) if fine.all() else slice(int(fine.argmin()))
        for key in ("steps", "relative", "left"):
            report[key].append(getattr(found, key)[kept].tolist())
    return report
