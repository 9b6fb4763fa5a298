"""Checkpoints: the state from which a fit resumes after its process was killed, and ends with identical factors.

A folder contains one file, in the format of `alternant._utils.tensor_file`, which is replaced as a whole. Its arrays
are the factors after an iteration, and what the fit needs besides them. Its header contains, as JSON, the `fit` that it
belongs to (the model, its parameters, a digest of the training data, the version and the backend), the state of the
`loop`, `values` of the trainer, the random `generator` at the start of the fit, and a digest of all of this.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._utils import tensor_file
from .._utils.atomic import check_target, whole_file
from .._utils.guard import Guarded
from .._utils.lock import FolderLock
from .._utils.validation import check_integer

if TYPE_CHECKING:
    from .._utils.pool import Pool
    from ..kernels._registry import Backend
    from ._fit_loop import FitOptions

NAME = "checkpoint.safetensors"
FORMAT_VERSION = 1
FREE = ("iterations", "epochs", "num_threads", "backend")  # parameters that may differ when a fit resumes
PARTS = ("alternant_checkpoint", "fit", "loop", "values", "generator")  # of the header, besides the digest


@dataclass
class Snapshot:
    """What a trainer needs to resume, besides the factors: arrays, and what JSON can represent."""

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

    def __init__(
        self, folder: str | os.PathLike[str], every: int, fit: dict[str, Any],
        allocate: Callable[..., NDArray[Any]] = np.empty,
    ) -> None:  # fmt: skip
        self.folder, self.every, self._fit, self._allocate = Path(folder), every, fit, allocate
        self.path = self.folder / NAME
        self._generator: dict[str, Any] | None = None
        self._lock: FolderLock | None = None
        # Now rather than after the first iterations; the folder is created by the first of them.
        check_target(self.path if self.folder.exists() else self.folder, "a checkpoint")
        if self.path.exists():
            self._read()

    @classmethod
    def of(
        cls, model: Any, options: FitOptions, backend: Backend, data: Iterable[Any], pool: Pool | None = None
    ) -> Checkpoint | None:
        """Return the checkpoint of a fit to these data (see `digest`); None if `options` name no folder.

        The arrays that it resumes from are allocated by the pool.
        """
        if options.checkpoint is None:
            return None
        parameters = {name: plain_value(value) for name, value in model.get_params().items() if name not in FREE}
        parameters["backend"] = backend.name if backend.simd is None else f"{backend.name}, {backend.simd}"
        start = [model.user_factors, model.item_factors] if _starts_warm(model) else []
        fit = {
            "model": type(model).__name__, "parameters": parameters, "data": digest([*data, *start]),
            "version": version("alternant"),
        }  # fmt: skip
        return cls(options.checkpoint, options.every, fit, np.empty if pool is None else pool.array)

    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        """Return the random generator of the start of the fit: that of the interrupted one, or `rng`."""
        if self._generator is None:
            self._generator = json.loads(json.dumps(rng.bit_generator.state, default=np.ndarray.tolist))
            return rng
        bits = getattr(np.random, self._generator["bit_generator"])(0)
        bits.state = self._generator
        return np.random.Generator(bits)

    def due(self, number: int, last: bool) -> bool:
        """Whether to write after this iteration."""
        return last or number % self.every == 0

    def write(self, loop: dict[str, Any], snapshot: Snapshot) -> None:
        """Replace the file."""
        self.open(create=True)
        arrays = snapshot.arrays
        header = (FORMAT_VERSION, self._fit, loop, snapshot.values, self._generator)
        strings = {name: json.dumps(value) for name, value in zip(PARTS, header, strict=True)}
        kept = "the one before is kept, from which the same call resumes" if self.path.exists() else "nothing was saved"
        with whole_file(self.path, "a checkpoint", kept) as temporary:
            tensor_file.write(temporary, arrays, strings | {"digest": _digest_of_file(strings, arrays)})

    def open(self, create: bool = False) -> None:
        """Lock the folder, and remove what a writer that was killed left in it; without `create`, only if it exists."""
        if self._lock is not None or not (create or self.folder.exists()):
            return
        self.folder.mkdir(exist_ok=True)
        self._lock = FolderLock(self.folder, "another fit saves its checkpoints in {!r}: pass another folder")
        for leftover in self.folder.glob(".alternant-*"):
            if {path.name for path in leftover.glob("*")} <= {NAME}:
                shutil.rmtree(leftover, ignore_errors=True)

    def close(self) -> None:
        """Let other fits use the folder."""
        if self._lock is not None:
            self._lock.release()

    def _read(self) -> None:
        try:
            strings, arrays = tensor_file.read(self.path, lambda _name: False, self._allocate)
            found = strings.pop("digest", "")
            whole = strings.keys() == set(PARTS) and found == _digest_of_file(strings, arrays)
        except tensor_file.TensorFileError:
            whole = False
        except OSError as error:
            raise type(error)(f"{str(self.path)!r} can't be read ({error.strerror}): pass another folder") from None
        if not whole:
            raise ValueError(f"{str(self.path)!r} is not a complete checkpoint of alternant: delete it to start over")
        form, fit, loop, values, generator = (json.loads(strings[name]) for name in PARTS)
        if form != FORMAT_VERSION:
            raise ValueError(
                f"{str(self.path)!r} has format {form}, but this version of alternant reads {FORMAT_VERSION}: finish "
                "that fit with the version that began it, or delete the file to start over"
            )
        self._check_fit(fit)
        self.saved, self.loop, self._generator = Snapshot(arrays, values), loop, generator

    def _check_fit(self, theirs: dict[str, Any]) -> None:
        """Raise unless the file belongs to this fit."""
        ours, differs = self._fit, ""
        if ours["model"] != theirs["model"]:
            differs = f"a fit of {theirs['model']}, not {ours['model']}"
        elif ours["version"] != theirs["version"]:
            differs = f"a fit by alternant {theirs['version']}, not {ours['version']}"
        elif ours["parameters"] != theirs["parameters"]:
            names = ours["parameters"].keys() | theirs["parameters"].keys()
            other = min(name for name in names if ours["parameters"].get(name) != theirs["parameters"].get(name))
            differs = f"a fit with {other}={theirs['parameters'].get(other)!r}, not {ours['parameters'].get(other)!r}"
        elif ours["data"] != theirs["data"]:
            differs = "a fit to other data, or with warm_start from other factors"
        if differs:
            raise ValueError(
                f"the checkpoint in {str(self.folder)!r} belongs to {differs}: pass another folder, or delete "
                f"{NAME} in it to start over"
            )


def check_checkpoint(checkpoint: Any, every: Any) -> None:
    """Raise unless these are arguments of `fit`."""
    if checkpoint is not None and (not isinstance(checkpoint, (str, os.PathLike)) or not os.fspath(checkpoint)):
        raise TypeError(f"checkpoint must be the path of a folder, got {checkpoint!r}")
    check_integer("every", every, 1)
    if checkpoint is None:
        return
    folder = Path(checkpoint)
    if os.path.lexists(folder) and not folder.is_dir():
        raise NotADirectoryError(f"checkpoint must be the path of a folder, but {str(folder)!r} is not one")
    if not folder.absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder.parent)!r} to create {folder.name!r} in")


class InDtype(NamedTuple):
    """An array whose digest is that of its numbers in another dtype."""

    array: NDArray[Any]
    dtype: np.dtype[Any]


def digest(parts: Iterable[Any]) -> str:
    """Return a digest of arrays, with their dtypes and shapes, and of anything between them by its repr."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if not isinstance(part, (np.ndarray, InDtype)):
            total.update(f"{part!r};".encode())
            continue
        array, dtype = part if isinstance(part, InDtype) else (part, part.dtype)
        total.update(f"{dtype.str}{array.shape};".encode())
        for chunk in tensor_file.chunks(array):
            total.update(np.ascontiguousarray(chunk, dtype).view(np.uint8).data)
    return total.hexdigest()


def _digest_of_file(strings: dict[str, str], arrays: dict[str, NDArray[Any]]) -> str:
    named: list[Any] = [strings[name] for name in PARTS]
    for name in sorted(arrays):
        named += [name, arrays[name]]
    return digest(named)


def _starts_warm(model: Any) -> bool:
    return bool(getattr(model, "warm_start", False)) and getattr(model, "user_factors", None) is not None


def plain_value(value: Any) -> Any:
    """Return a parameter as JSON represents it; of a random generator, a digest of its state."""
    if isinstance(value, np.random.Generator):
        value = value.bit_generator.state
    elif isinstance(value, np.random.RandomState):
        value = value.get_state(legacy=False)
    if isinstance(value, dict):
        state = json.dumps(value, default=np.ndarray.tolist, sort_keys=True)
        return f"a generator ({hashlib.blake2b(state.encode(), digest_size=4).hexdigest()})"
    if isinstance(value, (type, np.dtype)):
        return np.dtype(value).name
    if isinstance(value, (list, tuple)):
        return [plain_value(part) for part in value]
    if isinstance(value, float) and np.isnan(value):
        return "nan"
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Guarded):  # a model, whose text has many lines
        return repr(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
