"""One NaN or infinity in what a function is given: one error that names it, and no number."""

import numpy as np
import pytest

from snn_ntk import disentanglement, log_marginal_likelihood, node_scaling, ntk, paper, stax
from snn_ntk.reporting import estimates
from snn_ntk.training import limit_flow, limit_movement

KERNEL, OUTPUTS, UNIT = np.eye(3), np.ones((3, 2)), np.eye(3)
SLOPES = {"kernel": KERNEL, "product": KERNEL, "slopes": np.ones((3, 4)), "residual": OUTPUTS}


def settings(latent_kernel, d_kernel):
    return paper.setting(UNIT, latent_kernel=latent_kernel, d_kernel=d_kernel, sigma0=0.7, constants="erf")


# A function of arrays, good ones, and what the error names when one number of the array in that place is bad.
CALLS = {
    "limit_flow": (
        lambda *given: limit_flow(*given, [0.0, 1.0]),
        (KERNEL, 0 * OUTPUTS, OUTPUTS),
        ["a finite kernel and finite outputs and targets"] * 3,
    ),
    "limit_movement": (
        lambda kernel: limit_movement(kernel, kernel, 0 * OUTPUTS, OUTPUTS, [0.0, 1.0]),
        (KERNEL,),
        ["a finite kernel"],
    ),
    "setting": (
        settings,
        (0.5 * KERNEL, 0.3 * KERNEL),
        ["finite values in latent_kernel", "finite values in d_kernel"],
    ),
    "whitened_product": (paper.whitened_product, (UNIT, UNIT), ["finite values in x1", "finite values in x,"]),
    "ridge_error_bound": (
        lambda kernel: paper.ridge_error_bound(kernel, 1.0, ridge=1.0, train_error=0.0),
        (KERNEL,),
        ["finite values in kernel"],
    ),
    "typical_ridge_error": (
        lambda *given: paper.typical_ridge_error(**dict(zip(SLOPES, given, strict=True)), ridge=1.0, width=8),
        tuple(SLOPES.values()),
        [f"finite values in {name}" for name in SLOPES],
    ),
    "generalisation_bound": (
        lambda kernel: ntk.generalisation_bound(kernel, np.ones(3)),
        (KERNEL,),
        ["finite values in kernel"],
    ),
    "logistic_path": (
        lambda kernel, penalties: ntk.logistic_path(kernel, np.array([1.0, -1, 1]), penalties),
        (KERNEL, np.ones(1)),
        ["finite values in kernel", "positive penalties"],
    ),
    "log_marginal_likelihood": (
        lambda *given: log_marginal_likelihood(*given, 0.1),
        (KERNEL, OUTPUTS),
        ["finite values in nngp", "finite values in y"],
    ),
    "residual_bound": (
        lambda x: node_scaling.residual_bound(x, np.ones(3), activation=stax.Relu(), delta=0.1),
        (UNIT,),
        ["finite, non-zero rows"],
    ),
    "mig": (
        lambda codes: disentanglement.mig(codes, np.arange(3)[:, None]),
        (UNIT,),
        ["finite values in codes"],
    ),
    "mean_interval": (estimates.mean_interval, (np.arange(3.0),), ["finite samples, got 1 not finite"]),
}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_finite_is_named(name, bad, x64, unchecked):
    call, given, messages = CALLS[name]
    call(*given)  # all is well without it
    for place, message in enumerate(messages):
        if bad == np.inf and message == "positive penalties":
            continue  # one that allows nothing
        spoilt = [np.array(array, np.float64) for array in given]
        spoilt[place].flat[0] = bad
        with pytest.raises(ValueError, match=f"expected {message}"):
            call(*spoilt)
