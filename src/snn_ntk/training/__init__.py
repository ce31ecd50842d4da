"""Training of finite networks, and the training of infinitely wide ones in closed form.

| question | file |
|---|---|
| gradient descent, many runs at once, resumable | `descent`, `checkpoint` |
| gradient flow with controlled error | `flow` |
| the flow and the movement of the infinitely wide network | `limit` |
"""

from snn_ntk.training.descent import Trajectory, gradient_descent, log_spaced_steps
from snn_ntk.training.flow import Flow, gradient_flow
from snn_ntk.training.limit import LimitFlow, limit_flow, limit_movement

__all__ = [
    "Flow",
    "LimitFlow",
    "Trajectory",
    "gradient_descent",
    "gradient_flow",
    "limit_flow",
    "limit_movement",
    "log_spaced_steps",
]
