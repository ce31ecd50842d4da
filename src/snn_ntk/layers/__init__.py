"""Layers of neural-tangents that carry noise, for networks of any depth.

| question | file |
|---|---|
| a dense layer whose weights carry Gaussian noise | `dense` |
| a convolution whose filters do | `conv` |
| dropout with a mask for every input | `dropout` |
| the draw of a variational autoencoder's latents | `reparameterize` |
| a nonlinearity from any smooth function | `nonlinearity` |
| the variance of a network's output over its noise | `variance` |
| how much noise gives a wanted variance | `noise_level` |
| which of neural-tangents' layers may stand behind noise | `known` |
"""

from snn_ntk.layers.conv import StochasticConv
from snn_ntk.layers.dense import StochasticDense
from snn_ntk.layers.dropout import StochasticDropout
from snn_ntk.layers.noise_level import NoiseLevel, sigma0_for
from snn_ntk.layers.nonlinearity import Nonlinearity
from snn_ntk.layers.reparameterize import Reparameterize
from snn_ntk.layers.variance import predictive_variance

__all__ = [
    "NoiseLevel",
    "Nonlinearity",
    "Reparameterize",
    "StochasticConv",
    "StochasticDense",
    "StochasticDropout",
    "predictive_variance",
    "sigma0_for",
]
