"""What the networks of Figure 2 learn of MNIST images: the images, their leading coordinates, or their labels."""

import numpy as np
from jaxtyping import Float

from snn_ntk.datasets import Images

__all__ = ["figure2_targets", "principal_coordinates"]


def principal_coordinates(images: Float[np.ndarray, "n d"], outputs: int) -> Float[np.ndarray, "n k"]:
    """What a network with `outputs` outputs learns of images: their coordinates on the first principal directions.

    With as many outputs as pixels it is the images themselves. The two cases are one: in a basis of principal directions
    the images have at most n coordinates that are not zero, and Gaussian weights look alike in any basis. Up to sign they
    are √λ times `ntk.principal_components` of the linear kernel, computed from the images because that has n columns only.

    Args:
        images: Images of shape (n, d).
        outputs: Number of outputs.

    Returns:
        Coordinates of shape (n, outputs), float64.

    Raises:
        ValueError: If there are fewer than one or more than d outputs.

    Example:
        >>> np.abs(principal_coordinates(np.array([[3.0, 4.0, 0.0]]), 1)).round(6).tolist()
        [[5.0]]

    Source: book, chapter 9.
    """
    images = np.asarray(images, np.float64)
    if not 1 <= outputs <= images.shape[1]:
        raise ValueError(f"expected 1 <= outputs <= {images.shape[1]}, got {outputs}")
    if outputs == images.shape[1]:
        return images
    return images @ np.linalg.svd(images, full_matrices=True)[2][:outputs].T


def figure2_targets(data: Images, targets: str, outputs: int) -> Float[np.ndarray, "n k"]:
    """What networks of Figure 2 learn.

    Args:
        data: Images and labels.
        targets: Either "images", their principal coordinates, or "classes", the ten labels one-hot.
        outputs: Number of outputs; 10 for classes.

    Returns:
        Targets of shape (n, outputs), float64.

    Raises:
        ValueError: If the targets are neither, or classes with other than 10 outputs.

    Example:
        >>> from snn_ntk.datasets import mnist
        >>> figure2_targets(mnist(3), "classes", 10).sum(axis=1).tolist()
        [1.0, 1.0, 1.0]

    Source: book, chapter 9.
    """
    if targets == "images":
        return principal_coordinates(np.asarray(data.images, np.float32), outputs)
    if targets != "classes" or outputs != 10:
        raise ValueError(f"expected targets 'images', or 'classes' with 10 outputs, got {targets!r} with {outputs}")
    return np.eye(10)[np.asarray(data.labels)]
