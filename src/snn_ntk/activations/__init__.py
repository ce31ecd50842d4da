"""Activations, and their duals κ(c; q1, q2) = E[φ(a) φ(b)] with two derivatives: all that a kernel here is made of.

| question | file |
|---|---|
| the dual of an activation and its derivatives | `duals` |
| what an `Activation` holds, and how the rest follows from a closed form | `base` |
| which closed forms there are | `smooth_forms`, `kinked_forms`, `rectified_forms` |
| q1 q2 - c² to its last digits; an arctangent that a compiler makes fast | `determinant`, `arctangent` |
| any other smooth function | `expectations`, by `series` or `double_integral` |
| what is refused because it is not resolved | `refusal` |
| from a layer or a function to an `Activation` | `resolution`, `layer_forms` |
| suprema of φ, φ', φ'' for the theorems | `constants` |
"""

from snn_ntk.activations.base import Activation
from snn_ntk.activations.constants import ACTIVATION_CONSTANTS, ActivationConstants
from snn_ntk.activations.duals import dual, dual_derivatives
from snn_ntk.activations.resolution import resolve

__all__ = ["ACTIVATION_CONSTANTS", "Activation", "ActivationConstants", "dual", "dual_derivatives", "resolve"]
