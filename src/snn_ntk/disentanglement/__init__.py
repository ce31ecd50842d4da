"""Scores of disentanglement: how far each latent coordinate follows one factor of the data, and what a code tells.

Four scores are those of the paper's Figure 3 (`beta_vae`, `mig`, `sap`, `factor_vae`), two more are common beside them
(`dci`, `modularity`). The settings are those of the study library that most published numbers come from; where it
departs from the paper that defines a score, the definition is followed and the docstring says so. Codes are the means
of the encoder. A factor that takes one level only has nothing to be found and is left out of every score.

Codes have shape (N, latent), factors shape (N, number of factors) and hold integer levels.

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
