"""Gradient flow of finite networks, integrated with controlled error."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from snn_ntk._precision import full_precision

__all__ = ["Flow", "gradient_flow"]


class Flow(NamedTuple):
    """What a gradient flow leaves behind.

    Attributes:
        times: Increasing times, shape (r,).
        records: What was kept at each time, stacked on a new leading axis of length r.
        params: The parameters at the last time.
    """

    times: Float[Array, " r"]
    records: PyTree
    params: PyTree


@eqx.filter_jit
def _flow(loss, record, params, times, *, rtol, atol, max_steps):
    import diffrax  # here, because it takes half a second and most who import this package integrate no flow

    def field(t, params, args):
        return jax.tree.map(jnp.negative, jax.grad(loss)(params))

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        t0=0.0,
        t1=times[-1],
        dt0=None,
        y0=params,
        saveat=diffrax.SaveAt(
            subs=[
                diffrax.SubSaveAt(ts=times, fn=lambda t, params, args: record(params)),
                diffrax.SubSaveAt(t1=True),
            ]
        ),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        max_steps=max_steps,
    )
    assert solution.ys is not None  # something is saved
    return solution.ys


@full_precision
def gradient_flow(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    times: Any,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    record: Callable[[PyTree], PyTree] | None = None,
    max_steps: int = 1_000_000,
) -> Flow:
    """Gradient flow dθ/dt = −∇L(θ) of a finite network, integrated with controlled error.

    The solver is Tsitouras' 5(4) pair with adaptive steps: a flow of squared error is as stiff as its tangent kernel
    is ill-conditioned, so its cost grows like λ_max(Θ) t / n.

    Args:
        loss: Scalar loss of the parameters.
        params: Pytree of floating arrays.
        times: Increasing times, the first at least 0, shape (r,).
        rtol: Relative tolerance of a step; in float32 not below about 1e-6.
        atol: Absolute tolerance of a step.
        record: What to keep at each time; by default the loss.
        max_steps: Steps after which the solver gives up with an error.

    Returns:
        The times, the records stacked over them, and the parameters at the last time.

    Raises:
        ValueError: If `times` does not increase from 0 or later, or is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> flow = gradient_flow(lambda w: 0.5 * w**2, jnp.array(1.0), [0.0, 1.0], record=lambda w: w)
        >>> bool(abs(flow.records[-1] - jnp.exp(-1.0)) < 1e-4)
        True

    Source: wang2024vae, Section 4.
    """
    times = jnp.asarray(times, dtype=float)
    if (
        times.ndim != 1
        or times.size == 0
        or not (np.isfinite(times).all() and times[0] >= 0 and (np.diff(times) > 0).all())
    ):
        raise ValueError(f"expected finite increasing times from 0 or later, got {times}")
    records, last = _flow(
        loss, loss if record is None else record, params, times, rtol=rtol, atol=atol, max_steps=max_steps
    )
    return Flow(times, records, jax.tree.map(lambda leaf: leaf[-1], last))
