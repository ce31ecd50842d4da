"""The β-VAE of the disentanglement experiments.

| question | file |
|---|---|
| its layers, convolutions as matrix products | `layers` |
| the model and its loss | `model` |
| training, resumable | `training` |
| several seeds in one program | `side_by_side` |
| codes, reconstructions and losses of many images | `codes` |
"""

from snn_ntk.vae.codes import encode, evaluate, reconstruct
from snn_ntk.vae.model import VAE, loss_terms
from snn_ntk.vae.side_by_side import train_vaes
from snn_ntk.vae.training import Log, State, start_vae, train_vae

__all__ = [
    "VAE",
    "Log",
    "State",
    "encode",
    "evaluate",
    "loss_terms",
    "reconstruct",
    "start_vae",
    "train_vae",
    "train_vaes",
]
