"""Files of named arrays and strings in the safetensors format (github.com/huggingface/safetensors).

A file is the length of its header (8 bytes, little-endian), the header (JSON: for each array its dtype, its shape and
its range of bytes; ``__metadata__``: strings) and the arrays, without gaps. Written and read here rather than by the
package of that name, which is compiled for fewer Pythons than NumPy is, and copies what can be memory-mapped.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mapped import release

DTYPES = {
    "F64": "<f8", "I64": "<i8", "U64": "<u8", "F32": "<f4", "I32": "<i4", "U32": "<u4", "F16": "<f2", "I16": "<i2",
    "U16": "<u2", "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip
CHUNK = 1 << 24  # bytes written at a time
LONGEST_HEADER = 100_000_000  # bytes, as in the package


class TensorFileError(ValueError):
    """The file is not a complete file in this format."""


def write(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays and strings; the widest numbers come first, so that all of them are aligned."""
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name)):
        array = arrays[name]
        begin, end = end, end + array.size * array.dtype.itemsize
        kind = names[array.dtype.newbyteorder("<")]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name in list(header)[1:]:
            for part in chunks(arrays[name]):
                file.write(part.astype(part.dtype.newbyteorder("<"), copy=False).view(np.uint8).data)


def chunks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the numbers of an array in order, a part at a time, as contiguous vectors; memory maps are released."""
    if not array.ndim:
        array = array.reshape(1)
    rows = max(1, CHUNK // max(1, array.dtype.itemsize * math.prod(array.shape[1:])))
    for start in range(0, len(array), rows):
        part = array[start : start + rows]
        yield np.ascontiguousarray(part).reshape(-1)
        release(part)


def read(
    path: Path, mapped: Callable[[str], bool], allocate: Callable[..., NDArray[Any]] = np.empty
) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Return the strings, and the arrays; those that are `mapped` are read-only memory maps."""
    with path.open("rb") as file:
        header, start = _header(file.read(8), file, os.fstat(file.fileno()).st_size)
        metadata = header.pop("__metadata__", {})
        arrays: dict[str, NDArray[Any]] = {}
        for name, entry in header.items():
            dtype, shape, offset = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"][0]
            aligned = (start + offset) % dtype.itemsize == 0  # else kernels can't read it
            if mapped(name) and aligned and 0 not in shape:  # an empty map is an error
                arrays[name] = np.memmap(path, dtype, "r", start + offset, shape).view(np.ndarray)
            else:
                file.seek(start + offset)
                arrays[name] = allocate(shape, dtype)
                for part in chunks(arrays[name]):
                    if file.readinto(part.view(np.uint8).data) != part.nbytes:
                        raise TensorFileError("it became shorter while it was read")
    return metadata, arrays


def _header(prefix: bytes, file: Any, size: int) -> tuple[dict[str, Any], int]:
    """Return the header, checked against the size of the file, and where the arrays begin."""
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or not 2 <= length <= min(LONGEST_HEADER, size - 8):
        raise TensorFileError("its header is missing or cut off")
    try:
        header = json.loads(file.read(length).decode())
        ranges = sorted(_range(entry) for name, entry in header.items() if name != "__metadata__")
        strings = header.get("__metadata__", {})
        valid = all(isinstance(value, str) for value in strings.values())
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        valid = False
    if not valid:
        raise TensorFileError("its header is invalid")
    end = 0
    for begin, after in ranges:
        if begin != end:
            raise TensorFileError("its arrays overlap or have gaps between them")
        end = after
    if 8 + length + end != size:
        raise TensorFileError(f"it has {size} bytes, but its header says {8 + length + end}")
    return header, 8 + length


def _range(entry: dict[str, Any]) -> tuple[int, int]:
    """Return the range of bytes of an array, if its dtype and shape fit it."""
    (begin, end), shape = entry["data_offsets"], entry["shape"]
    if not all(type(number) is int and number >= 0 for number in (begin, end, *shape)):
        raise ValueError(entry)
    if end - begin != math.prod(shape) * np.dtype(DTYPES[entry["dtype"]]).itemsize:
        raise ValueError(entry)
    return begin, end
