"""Data sets; none needs the network by default."""

from snn_ntk.datasets.mnist import Images, mnist
from snn_ntk.datasets.synthetic import sphere

__all__ = ["Images", "mnist", "sphere"]
