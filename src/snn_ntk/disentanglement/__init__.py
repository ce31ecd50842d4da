"""Scores of disentanglement, and what can be read from a code.

| question | file |
|---|---|
| what codes and factors look like; which latents are active | `codes` |
| MIG, modularity | `information` |
| SAP | `attribute_predictability` |
| DCI | `importance` |
| BetaVAE and FactorVAE metrics | `interventions` |
| what a linear reader gets from a code | `readout` |
"""

from snn_ntk.disentanglement.attribute_predictability import sap, sap_accuracies
from snn_ntk.disentanglement.codes import Sampler, active_latents
from snn_ntk.disentanglement.importance import DCI, dci
from snn_ntk.disentanglement.information import mig, modularity, mutual_information
from snn_ntk.disentanglement.interventions import beta_vae, factor_vae
from snn_ntk.disentanglement.readout import Readout, random_projection, read_factors

__all__ = [
    "DCI",
    "Readout",
    "Sampler",
    "active_latents",
    "beta_vae",
    "dci",
    "factor_vae",
    "mig",
    "modularity",
    "mutual_information",
    "random_projection",
    "read_factors",
    "sap",
    "sap_accuracies",
]
