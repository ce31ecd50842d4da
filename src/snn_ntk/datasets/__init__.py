"""Data sets; none needs the network by default."""

from snn_ntk.datasets.mnist import Images, mnist
from snn_ntk.datasets.synthetic import sphere
from snn_ntk.datasets.uci import Regression, Split, split, uci

__all__ = ["Images", "Regression", "Split", "mnist", "sphere", "split", "uci"]
