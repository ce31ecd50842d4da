"""A file with a training's state, which knows the configuration it belongs to: one for all trainings of the package."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from snn_ntk._files import digest, write_arrays

__all__ = ["Checkpoint", "program_digest"]


class Checkpoint:
    """The state of a training and what it has recorded so far, written at once and read by the same training only.

    Args:
        path: The file; its folder is created.
        configuration: What has to be the same for a run to go on, text by name; the names appear in errors.

    Raises:
        ValueError: If nothing can be written there, which is better known before the first step than after many.

    Attributes:
        path: The file.
        configuration: As given.
    """

    def __init__(self, path: str | os.PathLike, configuration: Mapping[str, str]) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"expected a folder for the checkpoint {self.path}, got none ({error})") from error
        if self.path.is_dir() or not os.access(self.path.parent, os.W_OK):
            raise ValueError(f"expected {self.path} to be a file that can be written, got a folder or no permission")
        self.configuration = configuration

    def write(self, state: PyTree, records: list[PyTree]) -> None:
        """Writes the state and the records, the old file giving way at once.

        Args:
            state: A pytree of arrays.
            records: One pytree of arrays for every record, all of one structure.
        """
        arrays = {f"configuration/{name}": np.array(value) for name, value in self.configuration.items()}
        arrays |= {f"state/{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
        for i, record in enumerate(records):
            arrays |= {f"records/{i}/{j}": np.asarray(leaf) for j, leaf in enumerate(jax.tree.leaves(record))}
        write_arrays(self.path, arrays | {"records": np.array(len(records))})

    def read(self, state: PyTree, record: PyTree) -> tuple[PyTree, list[PyTree]] | None:
        """What was written last, or None if there is no file.

        Args:
            state: A state of the structure that was written; its numbers do not matter.
            record: Likewise a record.

        Returns:
            The state and the records as NumPy arrays, or None.

        Raises:
            ValueError: If the file is damaged or belongs to another configuration; the error names the part.
        """
        if not self.path.exists():
            return None
        if self.path.stat().st_size == 0:
            raise ValueError(f"expected {self.path} to be a checkpoint of a training, got an empty file: remove it")
        try:
            with open(self.path, "rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = dict(content)  # numpy leaves a damaged file open that it opened by itself
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"expected {self.path} to be a checkpoint of a training, got another file") from error
        for name, value in self.configuration.items():
            if str(arrays.get(f"configuration/{name}")) != value:
                hint = "; to extend a finished run, read it with its own steps, and begin another run with its result"
                raise ValueError(
                    f"expected {self.path} to continue this run, got a checkpoint of another {name}"
                    + (hint if name == "steps" else "")
                )

        def filled(like: PyTree, prefix: str) -> PyTree:
            leaves, structure = jax.tree.flatten(like)
            return structure.unflatten([arrays[f"{prefix}/{i}"] for i in range(len(leaves))])

        return filled(state, "state"), [filled(record, f"records/{i}") for i in range(int(arrays["records"]))]


def program_digest(function: Callable, *arguments: Any) -> str:
    """A hash of what a function computes: its jaxpr and the constants in it, those of functions inside it included.

    Args:
        function: Any function that JAX can trace.
        arguments: For whose shapes and dtypes it is traced.

    Returns:
        SHA-256 in hexadecimal digits.

    Raises:
        ValueError: If it calls back to Python, of whose functions nothing is known.

    Example:
        >>> program_digest(lambda x: x + 1, 2.0) == program_digest(lambda y: y + 1, 3.0)
        True
    """
    program = jax.make_jaxpr(function)(*arguments)
    # Addresses in the printed program change from process to process and say nothing.
    return digest(re.sub(r"0x[0-9a-f]+", "", str(program)), *_constants(program))


def _constants(program: Any) -> Iterator[Any]:
    """The arrays that a program holds, and those of the programs in its equations."""
    yield from getattr(program, "consts", ())
    for equation in program.eqns:
        if "callback" in equation.primitive.name:
            raise ValueError(
                f"expected a program without calls to Python, got {equation.primitive.name}: leave the checkpoint away"
            )
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda value: hasattr(value, "eqns")):
            if hasattr(inner, "eqns"):
                yield from _constants(inner)
