"""Data sets; none needs the network by default."""

from snn_ntk.datasets.cifar import Features, cifar10, cifar10_features, convolutional_features
from snn_ntk.datasets.mnist import Images, mnist
from snn_ntk.datasets.synthetic import sphere
from snn_ntk.datasets.uci import Regression, Split, split, uci

__all__ = [
    "Features",
    "Images",
    "Regression",
    "Split",
    "cifar10",
    "cifar10_features",
    "convolutional_features",
    "mnist",
    "sphere",
    "split",
    "uci",
]
