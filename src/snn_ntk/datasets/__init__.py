"""Data sets; none needs the network by default."""

from snn_ntk.datasets.cars3d import cars3d
from snn_ntk.datasets.celeba import AttributeDataset, celeba
from snn_ntk.datasets.dsprites import dsprites
from snn_ntk.datasets.factors import FactorDataset
from snn_ntk.datasets.mnist import Images, mnist
from snn_ntk.datasets.synthetic import sphere

__all__ = ["AttributeDataset", "FactorDataset", "Images", "cars3d", "celeba", "dsprites", "mnist", "sphere"]
