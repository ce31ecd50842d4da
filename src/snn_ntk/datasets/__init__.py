"""Data sets; none needs the network by default.

| question | file |
|---|---|
| digits; photographs and features of them | `mnist`, `cifar` |
| images that are a grid of known factors | `factors`, `dsprites`, `cars3d` |
| faces with attributes | `celeba` |
| regression | `uci` |
| points on the sphere | `synthetic` |
| what is drawn where the original is not at hand | `stand_ins` |
| where official files are looked for | `_store` |
"""

from snn_ntk.datasets.cars3d import cars3d
from snn_ntk.datasets.celeba import AttributeDataset, celeba
from snn_ntk.datasets.cifar import Features, cifar10, cifar10_features, convolutional_features
from snn_ntk.datasets.dsprites import dsprites
from snn_ntk.datasets.factors import FactorDataset
from snn_ntk.datasets.mnist import Images, mnist
from snn_ntk.datasets.synthetic import sphere
from snn_ntk.datasets.uci import Regression, Split, split, uci

__all__ = [
    "AttributeDataset",
    "FactorDataset",
    "Features",
    "Images",
    "Regression",
    "Split",
    "cars3d",
    "celeba",
    "cifar10",
    "cifar10_features",
    "convolutional_features",
    "dsprites",
    "mnist",
    "sphere",
    "split",
    "uci",
]
