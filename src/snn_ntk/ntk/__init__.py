"""The theory that the paper stands on: Jacot, Gabriel and Hongler, and a lecture on over-parameterised networks.

| question | file |
|---|---|
| a deep network at finite width and its kernel, layer by layer | `mlp` |
| its limit: recursion, feature map, principal components | `limit` |
| two-layer ReLU kernels in closed form | `relu_kernel` |
| how smooth their features are | `smoothness` |
| their spectrum on the sphere | `harmonics` |
| the two-layer network, its movement; how it is descended | `two_layer`, `descents` |
| bounds on its test error; margins in function space | `generalisation`, `margin` |
"""

from snn_ntk.ntk.descents import (
    descend,
    gradient_step,
    natural_gradient_step,
    online_logistic,
    predicted_loss,
    stochastic_step,
)
from snn_ntk.ntk.generalisation import generalisation_bound, rademacher_ascent, rademacher_bound, rademacher_linearised
from snn_ntk.ntk.harmonics import (
    mercer_eigenvalues,
    mercer_quadrature,
    multiplicity,
    power_coefficients,
    zonal_polynomials,
)
from snn_ntk.ntk.limit import LimitLayer, erf_dual, feature_map, principal_components, recursion, relu_dual
from snn_ntk.ntk.margin import LogisticPath, logistic_path, margin_norm
from snn_ntk.ntk.mlp import MLP, init_mlp, layer_kernels, mlp_output, tangent_kernel_row
from snn_ntk.ntk.relu_kernel import first_layer_gram, kappa0, kappa1, relu_ntk, relu_ntk_profile
from snn_ntk.ntk.smoothness import (
    FeatureDistances,
    activation_moments,
    feature_distances,
    lipschitz_constant,
    phi0_bound,
    phi_bound,
    sharp_lipschitz_constant,
)
from snn_ntk.ntk.two_layer import (
    TwoLayer,
    init_two_layer,
    jacobian_change,
    max_distance,
    pattern_changes,
    pull_back,
    total_distance,
    two_layer_gram,
    two_layer_output,
)

__all__ = [
    "MLP",
    "FeatureDistances",
    "LimitLayer",
    "LogisticPath",
    "TwoLayer",
    "activation_moments",
    "descend",
    "erf_dual",
    "feature_distances",
    "feature_map",
    "first_layer_gram",
    "generalisation_bound",
    "gradient_step",
    "init_mlp",
    "init_two_layer",
    "jacobian_change",
    "kappa0",
    "kappa1",
    "layer_kernels",
    "lipschitz_constant",
    "logistic_path",
    "margin_norm",
    "max_distance",
    "mercer_eigenvalues",
    "mercer_quadrature",
    "mlp_output",
    "multiplicity",
    "natural_gradient_step",
    "online_logistic",
    "pattern_changes",
    "phi0_bound",
    "phi_bound",
    "power_coefficients",
    "predicted_loss",
    "principal_components",
    "pull_back",
    "rademacher_ascent",
    "rademacher_bound",
    "rademacher_linearised",
    "recursion",
    "relu_dual",
    "relu_ntk",
    "relu_ntk_profile",
    "sharp_lipschitz_constant",
    "stochastic_step",
    "tangent_kernel_row",
    "total_distance",
    "two_layer_gram",
    "two_layer_output",
    "zonal_polynomials",
]
