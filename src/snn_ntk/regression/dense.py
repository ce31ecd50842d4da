"""Ridge regression with a whole kernel in float64: a Cholesky factor serves one ridge, eigenvalues serve several."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh

__all__ = ["Cholesky", "Eigenvalues", "dense_bytes", "dense_system"]


def dense_bytes(n: int, ridges: int) -> int:
    """What a dense solve holds: the factor in place of the kernel, or eigenvectors and workspace beside it."""
    return 8 * n**2 * (1 if ridges == 1 else 4)


def _check(smallest: float, n: int, largest: float) -> None:
    """Raises an error where rounding of the kernel decides the first digit of the inverse."""
    rounding = 16 * n * np.finfo(np.float64).eps * largest
    if smallest <= rounding:
        raise ValueError(
            f"expected a kernel whose smallest eigenvalue plus the ridge is above rounding, {rounding:.2g}, "
            f"got {smallest:.2g}: take a larger ridge, or inputs that are not there twice"
        )


class Cholesky:
    """(K + ρ I)⁻¹ for one ridge."""

    def __init__(self, kernel: np.ndarray, ridge: float) -> None:
        kernel[np.diag_indices_from(kernel)] += ridge
        largest = float(np.diagonal(kernel).max())
        try:
            # The transpose is in LAPACK's order, so that the factor takes the kernel's place.
            self.factor = cho_factor(kernel.T, lower=False, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError as error:
            raise ValueError(f"expected a kernel whose eigenvalues are above -{ridge:.3g}, the ridge") from error
        # No pivot is below the smallest eigenvalue.
        _check(float(np.diagonal(self.factor[0]).min()) ** 2, len(kernel), largest)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Shape (n, k) to (1, n, k)."""
        return cho_solve(self.factor, right, check_finite=False)[None]

    def explained(self, right: np.ndarray) -> np.ndarray:
        """bᵀ (K + ρ I)⁻¹ b of every column b, shape (1, k)."""
        return np.einsum("jk,ijk->ik", right, self.solve(right))


class Eigenvalues:
    """(K + ρ I)⁻¹ for several ridges."""

    def __init__(self, kernel: np.ndarray, ridges: np.ndarray) -> None:
        self.values, self.vectors = eigh(kernel.T, overwrite_a=True, check_finite=False)
        self.ridges = ridges
        if self.values[0] + ridges.min() <= 0:
            raise ValueError(
                f"expected a kernel whose eigenvalues are above -{ridges.min():.3g}, the smallest ridge, "
                f"got one of {self.values[0]:.3g}"
            )
        _check(self.values[0] + ridges.min(), len(kernel), self.values[-1])

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Shape (n, k) to (ridges, n, k)."""
        rotated = self.vectors.T @ right
        return np.stack([self.vectors @ (rotated / (self.values + ridge)[:, None]) for ridge in self.ridges])

    def explained(self, right: np.ndarray) -> np.ndarray:
        """bᵀ (K + ρ I)⁻¹ b of every column b, shape (ridges, k)."""
        squares = (self.vectors.T @ right) ** 2
        return np.stack([(squares / (self.values + ridge)[:, None]).sum(axis=0) for ridge in self.ridges])


def dense_system(kernel: np.ndarray, ridges: np.ndarray) -> Cholesky | Eigenvalues:
    """The inverse of K + ρ I for every ridge; the kernel, float64, gives way to it."""
    # Only one triangle of it will be read.
    left, right = np.random.default_rng(0).standard_normal((2, len(kernel)))
    image = kernel @ right
    if abs(left @ image - right @ (kernel @ left)) > 1e-4 * np.linalg.norm(image) * np.linalg.norm(left):
        raise ValueError("expected a symmetric kernel, got K(X, X) that is not")
    return Cholesky(kernel, float(ridges[0])) if len(ridges) == 1 else Eigenvalues(kernel, ridges)
