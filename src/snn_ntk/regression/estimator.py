"""Kernel ridge regression as a scikit-learn estimator."""

from __future__ import annotations

import math
import numbers
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from snn_ntk import _validation as validation
from snn_ntk.kernels.batched import tiles
from snn_ntk.regression.blocks import TILE, block_function, blocks_of_rows, diagonal, fill, is_covariance
from snn_ntk.regression.dense import dense_bytes, dense_system
from snn_ntk.regression.iterative import StreamedSystem

__all__ = ["KernelRidge"]


class KernelRidge(RegressorMixin, BaseEstimator):
    """Kernel ridge regression at any number of inputs, f(x) = f̂₀(x) + K(x, X) (K(X, X) + ρ I)⁻¹ (Y − f̂₀(X)).

    Where the kernel in float64 fits in `memory` it is solved by a Cholesky factor (one ridge) or by eigenvalues
    (several). Where not, it is computed once in float32 and preconditioned conjugate gradients solve for all outputs
    and all ridges together, until the residual R has ‖R‖ ≤ tol ‖Y − f̂₀(X)‖ for each output. Then the dual
    coefficients are within ‖R‖/ρ of the exact ones, predictions at the training inputs within ‖R‖, and any other
    within √k(x, x) ‖R‖/(2√ρ), for the kernel as it is stored. With `folder`, an interrupted fit goes on where it was.

    The kernel is computed in the precision of the inputs, and never inflated by noise, that of `stax.Dropout` included
    (but within `nt.batch`, which makes blocks of its own).
    Several processes (`jax.distributed`) call each method with the same arguments, and one mesh of all their devices.

    Args:
        kernel: A `kernel_fn` of neural-tangents or any function of two blocks of inputs, of shapes (n1, ...) and
            (n2, ...), to their kernel (n1, n2); or "precomputed", in which case X is the kernel.
        activation: In place of `kernel`: that of a stochastic network with one hidden layer, as in `tangent_kernels`.
        sigma0: Initial value σ0 of its variance weights.
        get: "ntk" or "nngp"; with an activation also "mu", "sigma" or "d", one group's kernel. What a `functools.partial`
            has fixed stays.
        ridge: ρ ≥ 0, or several; conjugate gradients need ρ > 0.
        f0: Initial output f̂₀, a function of inputs to outputs like y; None is 0.
        solver: "dense", "streamed", or "auto" for what fits in `memory`.
        memory: Bytes that a dense solve may use.
        tol: Relative residual of conjugate gradients.
        max_iter: Their most passes over the kernel.
        rank: Columns of their preconditioner; None is 4 √n.
        folder: Where to keep a streamed kernel, as a file, and checkpoints; None keeps it in memory.
        mesh: Devices over whose first axis the kernel's rows are divided, and over a second one the right-hand sides.
        verbose: Whether to show progress with the time that remains.

    Attributes:
        dual_coef_: (K + ρ I)⁻¹ (Y − f̂₀(X)), shape (n,) or (n, outputs), for several ridges (ridges, n, ...).
        X_fit_: The inputs.
        solver_: "dense" or "streamed".
        residual_: ‖R‖ for each output (and ridge), when streamed.
        error_bound_: ‖R‖/ρ, when streamed: at least the error of the dual coefficients of each output, if the kernel has no
            eigenvalue below 0. One in (−ρ, 0) is refused where a step meets it, and none may.
        n_iter_: Passes over the kernel in float32, when streamed.

    Example:
        >>> import numpy as np
        >>> from snn_ntk import stax
        >>> x = np.eye(3)
        >>> model = KernelRidge(activation=stax.Erf(), sigma0=0.5, ridge=1e-6).fit(x, [1.0, 2.0, 3.0])
        >>> model.predict(x).round(3).tolist()
        [1.0, 2.0, 3.0]

    Source: wang2024vae, Theorem 2 (corrected); book, chapter 8.
    """

    def __init__(
        self,
        kernel: Any = None,
        *,
        activation: Any = None,
        sigma0: Any = 0.0,
        get: str = "ntk",
        ridge: Any = 1.0,
        f0: Any = None,
        solver: str = "auto",
        memory: float = 2**32,
        tol: float = 1e-6,
        max_iter: int = 1000,
        rank: int | None = None,
        folder: Any = None,
        mesh: Mesh | None = None,
        verbose: bool = False,
    ) -> None:
        self.kernel = kernel
        self.activation = activation
        self.sigma0 = sigma0
        self.get = get
        self.ridge = ridge
        self.f0 = f0
        self.solver = solver
        self.memory = memory
        self.tol = tol
        self.max_iter = max_iter
        self.rank = rank
        self.folder = folder
        self.mesh = mesh
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.pairwise = self._precomputed
        return tags

    def __sklearn_clone__(self):
        # A mesh is one of a kind, and so are the functions here: scikit-learn would copy their insides.
        return type(self)(**self.get_params(deep=False))

    def __getstate__(self):
        # What is left of the solve is for `return_std`; it may be the whole kernel.
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_system"}

    def fit(self, X: Any, y: Any) -> KernelRidge:
        """Solves for the dual coefficients.

        Args:
            X: Inputs, shape (n, d) or, for a kernel that takes them, (n, ...); the kernel (n, n) if precomputed.
            y: Targets, shape (n,) or (n, outputs).

        Returns:
            The estimator.

        Raises:
            TypeError: If `kernel`, `activation` or a number is not of its kind.
            ValueError: If a value is out of range, shapes do not fit, something is not finite, the kernel has an
                eigenvalue below −ρ (streamed: a step meets one below 0 beyond rounding), or `folder` holds another kernel.
        """
        for name in ("residual_", "error_bound_", "n_iter_"):  # what an earlier fit certified
            vars(self).pop(name, None)
        ridges = self._checked_ridges()
        block = None if self._precomputed else self._block()
        X, y = validate_data(
            self,
            X,
            y,
            dtype=[np.float64, np.float32],
            multi_output=True,
            y_numeric=True,
            allow_nd=not self._precomputed,
        )
        if self._precomputed and X.shape[0] != X.shape[1]:
            raise ValueError(f"Precomputed matrix must be a square matrix, got shape {X.shape}")
        self.X_fit_ = X
        self._single, self._one_ridge = y.ndim == 1, np.ndim(self.ridge) == 0
        targets = np.asarray(y, np.float64).reshape(len(X), -1)
        right = targets - self._start(X, targets.shape[1])
        if self._dense(len(X), len(ridges)):
            self.solver_ = "dense"
            kernel = np.array(X, np.float64) if block is None else fill(np.empty((len(X),) * 2), block, X, X)
            self._system = dense_system(kernel, ridges)
            solution = self._system.solve(right)
        else:
            self.solver_ = "streamed"
            rank = None if self.rank is None else validation.positive_integer(self.rank, "rank")
            self._system = StreamedSystem(
                X,
                block,
                ridges,
                rank=rank,
                folder=None if self.folder is None else Path(self.folder),
                mesh=self.mesh,
                tol=self.tol,
                max_iter=validation.positive_integer(self.max_iter, "max_iter"),
                verbose=self.verbose,
            )
            solution, residual, self.n_iter_ = self._system.certified(right)
            norms = np.linalg.norm(residual, axis=1)
            self.residual_ = self._shaped(norms)
            self.error_bound_ = self._shaped(norms / ridges[:, None])
        self.dual_coef_ = self._shaped(solution)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The regression function, and the standard deviation of the posterior of a Gaussian process.

        The variance is k(x, x) − K(x, X) (K(X, X) + ρ I)⁻¹ K(X, x), for a prior covariance k and targets with noise
        of variance ρ: of the function, without that noise. The tangent kernel of a network is no such covariance.

        Args:
            X: Inputs, shape (n_test, ...); K(x, X), shape (n_test, n), if precomputed.
            return_std: Whether to return the standard deviation too.

        Returns:
            Predictions, shape (n_test,) or (n_test, outputs), float64, for several ridges (ridges, n_test, ...); and
            standard deviations, shape (n_test,) or (ridges, n_test).

        Raises:
            ValueError: If inputs do not fit, or the posterior is asked of what has none.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32], allow_nd=not self._precomputed)
        X = X.astype(self.X_fit_.dtype, copy=False)
        block = self._block_for_std() if return_std else None if self._precomputed else self._block()
        outputs = 1 if self._single else self.dual_coef_.shape[-1]
        dual = self.dual_coef_.reshape(-1, len(self.X_fit_), outputs)
        mean = np.empty((len(dual), len(X), outputs))
        mean[:] = self._start(X, outputs)
        variance = np.empty((len(dual), len(X)))
        start = mean.copy()
        for rows in tiles(range(len(X)), TILE):
            cross = X[rows]
            if block is not None:
                cross = fill(np.empty((len(cross), len(self.X_fit_)), X.dtype), block, cross, self.X_fit_)
            mean[:, rows] = start[:, rows]
            for columns in blocks_of_rows(len(dual[0]), TILE):
                mean[:, rows] += cross[:, columns].astype(np.float64, copy=False) @ dual[:, columns]
            if return_std:
                explained = self._system.explained(np.asarray(cross.T, np.float64))
                variance[:, rows] = diagonal(block, X[rows]) - explained  # type: ignore[arg-type]
        mean = self._shaped(mean)
        if not return_std:
            return mean
        # Where nothing is left of the variance, rounding may leave less.
        std = np.sqrt(np.maximum(variance, 0))
        return mean, std[0] if self._one_ridge else std

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """The coefficient of determination R², one for each ridge if there are several.

        Args:
            X: Inputs, as for `predict`.
            y: Targets.
            sample_weight: Weights of the inputs, shape (n_test,).

        Returns:
            A number, or shape (ridges,).
        """
        predicted = self.predict(X)
        if self._one_ridge:
            return r2_score(y, predicted, sample_weight=sample_weight)
        return np.array([r2_score(y, each, sample_weight=sample_weight) for each in predicted])

    @property
    def _precomputed(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def _block(self):
        return block_function(self.kernel, self.activation, self.sigma0, self.get)

    def _block_for_std(self):
        if self._precomputed:
            raise ValueError("expected a kernel that can be computed at x, x for return_std, got a precomputed one")
        if not is_covariance(self.kernel, self.get):
            raise ValueError(
                f"expected get='nngp' for return_std, got get={self.get!r}: a tangent kernel is not the covariance "
                "of a network's outputs"
            )
        if not hasattr(self, "_system"):
            raise ValueError("expected an estimator fitted in this process for return_std, got one that was pickled")
        return self._block()

    def _checked_ridges(self) -> np.ndarray:
        values = np.atleast_1d(np.asarray(self.ridge))
        if values.ndim != 1 or not values.size or values.dtype.kind not in "fiu":
            raise TypeError(f"expected ridge to be a number or a list of numbers, got {self.ridge!r}")
        if not np.isfinite(values).all() or values.min() < 0:
            raise ValueError(f"expected a finite ridge >= 0, got {self.ridge!r}")
        if not isinstance(self.tol, numbers.Real) or not 0 < self.tol < 1:
            raise ValueError(f"expected tol between 0 and 1, got {self.tol!r}")
        return values.astype(np.float64)

    def _dense(self, n: int, ridges: int) -> bool:
        if self.solver not in ("auto", "dense", "streamed"):
            raise ValueError(f"expected solver to be 'auto', 'dense' or 'streamed', got {self.solver!r}")
        if not isinstance(self.memory, numbers.Real) or not 0 <= self.memory <= math.inf:
            raise ValueError(f"expected memory to be a number of bytes, got {self.memory!r}")
        needed = dense_bytes(n, ridges)
        if self.solver == "dense" and needed > self.memory:
            raise ValueError(
                f"expected a dense solve to fit in memory={self.memory / 1e9:.2g} GB, got {needed / 1e9:.2g} GB: "
                "raise memory, or take solver='streamed'"
            )
        return self.solver == "dense" or (self.solver == "auto" and needed <= self.memory)

    def _start(self, X: np.ndarray, outputs: int) -> np.ndarray:
        """f̂₀(X), shape (n, outputs)."""
        if self.f0 is None:
            return np.zeros((len(X), outputs))
        start = np.asarray(self.f0(X), np.float64)
        fitting = [(len(X), outputs), *([(len(X),)] if self._single else [])]
        if start.shape not in fitting:
            raise ValueError(f"expected f0 to return shape {fitting[-1]} like the targets, got {start.shape}")
        return check_array(start.reshape(len(X), outputs), input_name="f0(X)")

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        """From (ridges, ..., outputs) to one ridge and one output where there is one."""
        values = values[0] if self._one_ridge else values
        return values[..., 0] if self._single else values
