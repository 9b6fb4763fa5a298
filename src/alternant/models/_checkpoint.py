"""Checkpoints: what continues a fit to the same bits after its process was killed.

A folder holds one file, in the format of `alternant._utils.tensor_file`, which is replaced as a whole. Its arrays are
the factors after an iteration, and what the fit needs besides them. Its header has, as JSON, the `fit` that it belongs
to (the model, its parameters, and a digest of the training data), the state of the `loop`, `values` of the trainer, the
random `generator` at the start of the fit, and a digest of the arrays.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._utils import tensor_file
from .._utils.atomic import whole_file
from .._utils.validation import check_integer, random_generator

if TYPE_CHECKING:
    from ._fit_loop import FitOptions

NAME = "checkpoint.safetensors"
FORMAT_VERSION = 1
FREE = ("iterations", "epochs", "num_threads")  # parameters that may differ when a fit goes on


@dataclass
class Snapshot:
    """What a trainer needs to continue, besides the factors: arrays, and what JSON can represent."""

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def merged(self, other: Snapshot, prefix: str) -> Snapshot:
        """Return a snapshot with that of a part."""
        arrays = {f"{prefix}.{name}": array for name, array in other.arrays.items()}
        return Snapshot(self.arrays | arrays, self.values | {prefix: other.values})

    def part(self, prefix: str) -> Snapshot:
        """Undo `merged`."""
        arrays = {n.removeprefix(f"{prefix}."): a for n, a in self.arrays.items() if n.startswith(f"{prefix}.")}
        return Snapshot(arrays, self.values.get(prefix, {}))


class Checkpoint:
    """The checkpoint of one fit; `saved` is that of an earlier, interrupted one, and `loop` what its loop noted."""

    saved: Snapshot | None = None
    loop: dict[str, Any]

    def __init__(self, folder: str | os.PathLike[str], every: int, fit: dict[str, Any], random_state: Any) -> None:
        self.folder, self.every, self._fit = Path(folder), every, fit
        self.folder.mkdir(exist_ok=True)
        self.path = self.folder / NAME
        for leftover in self.folder.glob(".alternant-*"):  # of a writer that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        self._generator = random_generator(random_state).bit_generator.state
        if self.path.exists():
            self._read()

    @classmethod
    def of(
        cls, model: Any, options: FitOptions, backend: str, data: Iterable[NDArray[Any] | None]
    ) -> Checkpoint | None:
        """Return the checkpoint of a fit of these arrays; None if `options` name no folder."""
        if options.checkpoint is None:
            return None
        parameters = {name: _plain(value) for name, value in model.get_params().items() if name not in FREE}
        fit = {
            "model": type(model).__name__, "parameters": parameters | {"backend": backend}, "data": digest(data),
        }  # fmt: skip
        return cls(options.checkpoint, options.every, fit, model.random_state)

    def generator(self) -> np.random.Generator:
        """Return the random generator of the start of the fit."""
        kind = getattr(np.random, self._generator["bit_generator"])
        bits = kind(0)
        bits.state = self._generator
        return np.random.Generator(bits)

    def due(self, number: int, last: bool) -> bool:
        """Whether to write after this iteration."""
        return last or number % self.every == 0

    def write(self, loop: dict[str, Any], snapshot: Snapshot) -> None:
        """Replace the file."""
        arrays = {name: np.ascontiguousarray(array) for name, array in snapshot.arrays.items()}
        metadata = {
            "alternant_checkpoint": FORMAT_VERSION, "fit": self._fit, "loop": loop, "values": snapshot.values,
            "generator": self._generator, "digest": digest(arrays[name] for name in sorted(arrays)),
        }  # fmt: skip
        with whole_file(self.path, "a checkpoint") as temporary:
            strings = {name: json.dumps(value, default=np.ndarray.tolist) for name, value in metadata.items()}
            tensor_file.write(temporary, arrays, strings)

    def _read(self) -> None:
        try:
            strings, arrays = tensor_file.read(self.path, lambda _name: False)
            header = {name: json.loads(value) for name, value in strings.items()}
            known = header.keys() >= {"alternant_checkpoint", "fit", "loop", "values", "generator", "digest"}
            whole = known and header["digest"] == digest(arrays[name] for name in sorted(arrays))
        except (tensor_file.TensorFileError, LookupError, TypeError, ValueError):
            whole = False
        if not whole:
            raise ValueError(f"{str(self.path)!r} is damaged, or not a checkpoint of alternant: delete it to fit anew")
        if header["alternant_checkpoint"] != FORMAT_VERSION:
            raise ValueError(
                f"{str(self.path)!r} has format {header['alternant_checkpoint']}, but this version of alternant reads "
                f"{FORMAT_VERSION}: finish that fit with the version that began it, or delete the file to fit anew"
            )
        self._check_fit(header["fit"])
        self.saved, self.loop = Snapshot(arrays, header["values"]), header["loop"]
        self._generator = header["generator"]

    def _check_fit(self, theirs: dict[str, Any]) -> None:
        """Raise unless the file belongs to this fit."""
        ours, differs = self._fit, ""
        if ours["model"] != theirs["model"]:
            differs = f"a fit of {theirs['model']}, not {ours['model']}"
        elif ours["parameters"] != theirs["parameters"]:
            names = ours["parameters"].keys() | theirs["parameters"].keys()
            other = min(name for name in names if ours["parameters"].get(name) != theirs["parameters"].get(name))
            differs = (
                f"a fit with {other}={theirs['parameters'].get(other)!r}, not {ours['parameters'].get(other)!r}"
            )
        elif ours["data"] != theirs["data"]:
            differs = "a fit of other data"
        if differs:
            raise ValueError(
                f"the checkpoint in {str(self.folder)!r} belongs to {differs}: pass another folder, or delete "
                f"{NAME} in it to fit anew"
            )


def check_checkpoint(checkpoint: Any, every: Any) -> None:
    """Raise unless these are arguments of `fit`."""
    if checkpoint is not None and not isinstance(checkpoint, (str, os.PathLike)):
        raise TypeError(f"checkpoint must be the path of a folder, got {checkpoint!r}")
    check_integer("every", every, 1)
    if checkpoint is None:
        return
    folder = Path(checkpoint)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"checkpoint must be the path of a folder, but {str(folder)!r} is a file")
    if not folder.absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder.parent)!r} to create {folder.name!r} in")


def digest(arrays: Iterable[NDArray[Any] | None]) -> str:
    """Return a digest of arrays, with their dtypes and shapes."""
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        total.update(b"-" if array is None else f"{array.dtype.str}{array.shape}".encode())
        if array is not None and array.size:
            total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _plain(value: Any) -> Any:
    """Return a parameter as JSON represents it; other random states than numbers are equal to each other."""
    if isinstance(value, (np.random.Generator, np.random.RandomState)):
        return "a generator"
    if isinstance(value, (type, np.dtype)):
        return np.dtype(value).name
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and np.isnan(value):
        return "nan"
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
