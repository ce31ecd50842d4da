"""Every layer: neural-tangents' behind noise, exact with what says so or refused with the reason, and this package's own."""

__all__ = []

_DUAL = "Lemma 1 with the duals of `snn_ntk.activations`, which are compared with quadrature"
_LINEAR = "its own `apply_fn`, taken as a matrix between positions. Only behind a nonlinearity: before one it is refused by name"
_WEIGHTS = "new weights end the term: κ + Θ κ', and networks of finite width averaged over their noise"
_NEURONS = "neurons whose noise is averaged in closed form, gradients by autodiff"

SUPPORTED: dict[str, str] = {
    **dict.fromkeys(
        ("ABRelu", "Abs", "Cos", "Elementwise", "ElementwiseNumerical", "Erf", "Exp", "Gabor", "Gaussian", "Gelu"),
        _DUAL,
    ),
    **dict.fromkeys(("LeakyRelu", "Monomial", "Polynomial", "Rbf", "Relu", "Sigmoid_like", "Sin"), _DUAL),
    **dict.fromkeys(
        ("RectifiedMonomial", "Sign"),
        "quadrature over neurons. With a jump (`Sign`, `RectifiedMonomial(0)`) only on inputs of shape `(n, d)`",
    ),
    "ExpNormalized": "a function of the kernel alone, no network: σ0 → 0 is neural-tangents",
    **dict.fromkeys(("Conv", "ConvLocal", "ConvTranspose", "Dense"), _WEIGHTS),
    **dict.fromkeys(("AvgPool", "SumPool", "GlobalAvgPool", "GlobalSumPool", "ImageResize", "Aggregate"), _LINEAR),
    "DotGeneral": f"a product with a number: {_NEURONS}. With an array: {_LINEAR}",
    "Flatten": _NEURONS,
    "Index": "the network on the chosen positions alone",
    **dict.fromkeys(("FanInConcat", "FanInSum", "FanOut", "Identity", "LayerNorm"), _NEURONS),
    "FanInProd": "products of Gaussians in closed form",
    **dict.fromkeys(("parallel", "repeat", "serial"), "the layers that they are made of"),
}
"""What may stand behind a stochastic layer, and what its kernel is tested against."""

OWN: dict[str, str] = {
    "StochasticDense": _NEURONS + "; networks of finite width, by their own draws",
    "StochasticConv": "`StochasticDense` on patches, exactly, in every mode; networks of finite width, by their own draws",
    "StochasticDropout": "networks of finite width, by their own draws; rate → 1 is the network without it",
    "Reparameterize": "networks of finite width, by their own draws; log-variance → −∞ is the mean head alone",
    "Nonlinearity": _DUAL,
}
"""The package's own layers, each behind and before noise, and what its kernel is tested against."""

REFUSED: dict[str, str] = {
    "Dropout": "an input keeps its masks only where the two arrays that it stands in are equal, so a kernel depends on the arrays: use `StochasticDropout`. Refused before noise too; allowed with `mode='test'`, where it does nothing",
    "GlobalSelfAttention": "not derived: it multiplies noisy values by weights that the same noise moves",
    "Hermite": "is evaluated as if its input had unit variance: write it as `stax.Polynomial`",
}
"""What behind a stochastic layer raises an error, and why."""
