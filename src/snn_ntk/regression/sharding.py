"""The product of a stored kernel with vectors, its rows over the devices of a mesh, in one process or in many.

The rows are divided into one part for each position along the mesh's first axis, and each part into chunks; the first
chunks of all parts make one array over the mesh, and so on. A second axis divides the vectors. The kernel stays in the
memory, or the file, of the process that owns its part, and chunk after chunk goes to the devices: without a copy where
the device is the processor, and once for all where a device has room for its part.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from snn_ntk._precision import in_precision_of

__all__ = ["ShardedKernel", "agreed", "default_mesh", "owned_rows"]

# Of a chunk: some of them are in memory twice, as float64 or where JAX cannot read the kernel where it is.
_LEAST_BYTES, _MOST_BYTES = 2**22, 2**26


def default_mesh() -> Mesh:
    """One device of this process."""
    return Mesh(np.array(jax.local_devices()[:1]), ("rows",))


def owned_rows(mesh: Mesh, n: int) -> range:
    """The rows whose kernel this process stores."""
    parts = mesh.devices.reshape(mesh.devices.shape[0], -1)
    mine = [i for i, part in enumerate(parts) if any(d.process_index == jax.process_index() for d in part)]
    if not mine or mine != list(range(mine[0], mine[-1] + 1)):
        raise ValueError(f"expected a mesh whose first axis keeps a process's devices together, got parts {mine}")
    size = -(-n // len(parts))
    return range(min(mine[0] * size, n), min((mine[-1] + 1) * size, n))


def agreed(value: np.ndarray) -> np.ndarray:
    """The first process's value in all of them."""
    if jax.process_count() == 1:
        return value
    # As bytes: without double precision JAX would round float64.
    content = multihost_utils.broadcast_one_to_all(np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8))
    return np.frombuffer(np.asarray(content).tobytes(), value.dtype).reshape(value.shape).copy()


@functools.lru_cache
def _program(mesh: Mesh) -> Any:
    def multiply(chunk, vectors):
        return jnp.matmul(chunk.astype(vectors.dtype), vectors, precision="highest")

    return jax.jit(multiply, out_shardings=NamedSharding(mesh, PartitionSpec()))


class ShardedKernel:
    """A symmetric kernel of n points in float32.

    Args:
        stored: The rows of this process, shape (rows, n), float32.
        rows: Which rows these are.
        mesh: The devices; several processes each give their own rows.

    Attributes:
        n: Number of points.
    """

    def __init__(self, stored: np.ndarray, rows: range, mesh: Mesh) -> None:
        self.stored, self.owned, self.mesh, self.n = stored, rows, mesh, stored.shape[1]
        axes = [*mesh.axis_names, None]
        self._parts = mesh.devices.shape[0]
        self._columns = mesh.devices.shape[1] if mesh.devices.ndim > 1 else 1
        self._by_rows = NamedSharding(mesh, PartitionSpec(axes[0]))
        self._by_columns = NamedSharding(mesh, PartitionSpec(None, axes[1]))
        self._size = -(-self.n // self._parts)
        # Sixteen rows of float32 begin at a multiple of 64 bytes, which JAX needs to read them where they are.
        limit = int(np.clip(stored.nbytes // 32, _LEAST_BYTES, _MOST_BYTES))
        self._chunk = min(-(-self._size // 16), max(1, limit // (64 * self.n))) * 16
        self._resident = self._fits()
        self._one_processor = mesh.size == 1 and mesh.devices.flat[0].platform == "cpu"
        self._kept: dict[int, jax.Array] = {}

    def _fits(self) -> bool:
        """Whether every device of a card's kind has room for its part."""
        devices = [d for d in self.mesh.devices.flat if d.process_index == jax.process_index()]
        if devices[0].platform == "cpu":
            return False
        free = min((d.memory_stats() or {}).get("bytes_limit", 0) for d in devices)
        return 4 * self._size * self.n < 0.6 * free

    def _span(self, part: int, chunk: int) -> tuple[int, int]:
        """Where the rows of one part's chunk begin and end; a last one may be short or empty."""
        end = min((part + 1) * self._size, self.n)
        begin = min(part * self._size + chunk * self._chunk, end)
        return begin, min(begin + self._chunk, end)

    def _on_devices(self, chunk: int) -> jax.Array:
        if chunk in self._kept:
            return self._kept[chunk]

        def part(index: Any) -> np.ndarray:
            begin, end = self._span((index[0].start or 0) // self._chunk, chunk)
            rows = self.stored[begin - self.owned.start : end - self.owned.start]
            if len(rows) == self._chunk:
                return rows
            return np.concatenate([rows, np.zeros((self._chunk - len(rows), self.n), np.float32)])

        array = jax.make_array_from_callback((self._parts * self._chunk, self.n), self._by_rows, part)
        if self._resident:
            self._kept[chunk] = array
        return array

    def product(self, vectors: np.ndarray) -> np.ndarray:
        """K times vectors, shape (n, k), in their precision: float32, or float64 for a residual."""
        if self._one_processor:
            # In float32 half the processor time of the same product in chunks by JAX (10,000 points, ten vectors); in
            # float64 a chunk at a time is in memory twice, of which JAX has two on their way.
            size = self.n if vectors.dtype == np.float32 else self._chunk
            stored = np.asarray(self.stored)
            parts = (stored[begin : begin + size] for begin in range(0, self.n, size))
            return np.concatenate([part.astype(vectors.dtype, copy=False) @ vectors for part in parts])
        k = vectors.shape[1]
        padded = np.pad(vectors, ((0, 0), (0, -k % self._columns)))
        out = np.empty((self.n, k), vectors.dtype)

        def collect(chunk: int, result: jax.Array) -> None:
            whole = np.asarray(result.addressable_data(0))
            for part in range(self._parts):
                begin, end = self._span(part, chunk)
                first = part * self._chunk
                out[begin:end] = whole[first : first + end - begin, :k]

        with in_precision_of(vectors.dtype):
            right = jax.make_array_from_callback(padded.shape, self._by_columns, lambda index: padded[index])
            waiting = None
            # One chunk is collected while the next is on its way.
            for chunk in range(-(-self._size // self._chunk)):
                result = _program(self.mesh)(self._on_devices(chunk), right)
                if waiting is not None:
                    collect(*waiting)
                waiting = chunk, result
            assert waiting is not None
            collect(*waiting)
        return out

    def _gathered(self, mine: np.ndarray) -> np.ndarray:
        """The sum over processes of what each of them knows."""
        if len(self.owned) == self.n:
            return mine
        return np.asarray(multihost_utils.process_allgather(mine)).sum(axis=0)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Rows of the kernel, shape (len(indices), n), float32."""
        mine = np.zeros((len(indices), self.n), np.float32)
        here = (indices >= self.owned.start) & (indices < self.owned.stop)
        mine[here] = self.stored[indices[here] - self.owned.start]
        return self._gathered(mine)

    def diagonal(self) -> np.ndarray:
        """The diagonal, shape (n,), float32."""
        mine = np.zeros(self.n, np.float32)
        mine[self.owned.start : self.owned.stop] = np.diagonal(self.stored, self.owned.start)
        return self._gathered(mine)
