"""Model files: safetensors with a versioned header, no pickle.

The tensors are the factors (`user_factors` and `item_factors`; if users are sparse rows, `user_factors_indptr`,
`user_factors_indices`, `user_factors_values` and `item_factors_transposed`, or the same three of `item_factors`, by
column) and, if present, the interactions (`indptr`, `indices`, `values`, `shape`), the raw ids (`user_ids`, `item_ids`:
int64, or the bytes of a JSON list, in which, since version 4, a UUID, a date or a datetime is an object of its type and
its text; those of a store that are strings, since version 5, as `user_ids_utf8`, one after another in ascending order,
and `user_ids_offsets`, where each of them begins and the last one ends), the degrees of the fit (`user_degrees`,
`item_degrees`, since version 2, with their exponents as ``degrees`` in the header), `item_counts` (the number of
interactions of each item, if the interactions themselves are left out) and, since version 3, what was learned from
features (`user_features_weights` and so on; see `priors.storage`). A `Blend`, since version 6, has no factors but the
tensors of its models, whose names begin with ``0.``, ``1.`` and so on, and their headers as ``parts`` in its own. A
model is written as the oldest version that can hold it. The header's ``__metadata__`` contains ``alternant`` (the
version of the format), ``model`` (the class), ``parameters`` and ``state`` (both JSON), and ``library`` (of the data
frame the model was fitted on).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import date, datetime, timezone
from enum import Enum
from numbers import Real
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .._utils import tensor_file
from .._utils.atomic import as_path, whole_file
from .._utils.guard import Guarded
from ..data.csr import CSR
from ..data.ids import Ids
from ..data.store.saved_ids import TextIds
from ..data.values import object_array
from ._check_tensors import are_distinct, is_canonical, is_finite, text_ids
from ._fit_loop import freeze
from .als.degrees import Degrees, typical
from .priors.storage import names_of, pack_priors, unpack_prior

FORMAT_VERSION = WITH_PARTS = 6
WITH_TEXTS = 5
WITH_TYPED_IDS = 4
WITH_FEATURES = 3
WITHOUT_FEATURES = 2
_FACTORS = {"user_factors", "item_factors"}
_SPARSE_USERS = {"user_factors_indptr", "user_factors_indices", "user_factors_values"}
_SPARSE_ITEMS = {"item_factors_indptr", "item_factors_indices", "item_factors_values"}
_DENSE_ITEMS = {"item_factors_transposed"}  # beside sparse users
_INTERACTIONS = {"indptr", "indices", "values", "shape"}
_IDS = {"user_ids", "item_ids"}
_TEXTS = {kind: {f"{kind}_ids_offsets", f"{kind}_ids_utf8"} for kind in ("user", "item")}
_DEGREES = {"user_degrees", "item_degrees"}
_COUNTS = {"item_counts"}
_TYPED: dict[str, Callable[[str], Any]] = {  # ids kept as type and text
    "UUID": UUID, "date": date.fromisoformat, "datetime": datetime.fromisoformat,
}  # fmt: skip

MAPPED = {"indptr", "indices", "values", *_IDS, *_TEXTS["user"], *_TEXTS["item"]}  # if asked for, beside the factors
# What may be raised when reading a header or tensors that `save` did not write.
_DAMAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class ModelFileError(ValueError):
    """The file is not a model that this version can read."""


def save(model: Any, path: str | os.PathLike[str], interactions: bool) -> None:
    """Write a fitted model; see `FactorModel.save`."""
    tensors, metadata = _pack(model, interactions)
    with whole_file(path, "a model") as temporary:
        tensor_file.write(temporary, tensors, metadata)


def _pack(model: Any, interactions: bool) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the tensors and the header of a fitted model."""
    users, items = model._factors()
    parts = [_pack(part, interactions=False) for part in getattr(model, "models_", ())]
    tensors = {} if parts else _pack_factors(users, items)
    for number, (own, _) in enumerate(parts):
        tensors |= {f"{number}.{name}": tensor for name, tensor in own.items()}
    csr = getattr(model, "interactions_", None)  # missing if factors were set by hand
    rows = len(users), len(items)
    if interactions and csr is not None:
        if csr.shape != rows:
            raise ValueError(
                f"the interactions of the fit must have one row per user and one column per item, {rows}, got shape "
                f"{csr.shape}, as factors were set by hand: save with interactions=False"
            )
        tensors |= {"indptr": csr.indptr, "indices": csr.indices, "values": csr.data, "shape": np.array(csr.shape)}
    elif (counts := model._item_counts()) is not None:
        tensors["item_counts"] = counts
    typed = texts = False
    for kind in ("user", "item"):
        ids = model._ids_of(kind)
        if isinstance(ids, TextIds):
            texts = True
            tensors |= {f"{kind}_ids_offsets": ids.offsets, f"{kind}_ids_utf8": ids.text}
        elif ids is not None:
            tensors[f"{kind}_ids"] = pack_ids(ids, kind)
            typed |= any(one.__name__ in _TYPED for one in ids.types)
    degrees = getattr(model, "_degrees", None)
    if degrees is not None and (len(degrees.users), len(degrees.items)) != rows:
        degrees = None  # factors set by hand
    if degrees is not None:
        tensors |= {"user_degrees": degrees.users, "item_degrees": degrees.items}
    of_features, features = pack_priors(model)
    tensors |= of_features
    needs = {WITH_PARTS: parts, WITH_TEXTS: texts, WITH_TYPED_IDS: typed, WITH_FEATURES: features}
    metadata = {
        "alternant": str(next((version for version, needed in needs.items() if needed), WITHOUT_FEATURES)),
        "model": type(model).__name__,
        "parameters": json.dumps(_plain_parameters(model)),
        "state": json.dumps({name: getattr(model, name) for name in _state_names(model) if hasattr(model, name)}),
    }
    if model._library is not None:
        metadata["library"] = model._library
    if degrees is not None:
        metadata["degrees"] = json.dumps(
            [degrees.exponents, degrees.popularity, degrees.constants, degrees.of_fit, degrees.typical]
        )
    if features:
        metadata["features"] = json.dumps(features)
    if parts:
        metadata["parts"] = json.dumps([own for _, own in parts])
    return tensors, metadata


def load(cls: Any, path: str | os.PathLike[str], mmap: bool) -> Any:
    """Read a model of class `cls` or of one of its subclasses; see `FactorModel.load`."""
    path = as_path(path)
    if not path.is_file():
        if path.exists() and not path.is_dir():
            raise ValueError(f"{str(path)!r} is a pipe or a device: pass the path of a regular file")
        raise FileNotFoundError(f"there is no model file {str(path)!r}")
    try:
        metadata, tensors = tensor_file.read(path, lambda name: mmap and ("factors" in name or name in MAPPED))
        _check_version(path, metadata)
        return _restore(_find_class(cls, path, metadata["model"]), metadata, tensors)
    except tensor_file.TensorFileError as error:
        raise ModelFileError(
            f"{str(path)!r} is not a complete alternant model ({error}): it was damaged, truncated, or written by "
            "another program; save the model again"
        ) from None
    except ModelFileError:
        raise
    except _DAMAGE as error:
        raise ModelFileError(f"{str(path)!r} is a damaged model file ({error!r}): save the model again") from None


def _check_version(path: Path, metadata: dict[str, str]) -> None:
    version = metadata.get("alternant", "")
    if not version.isdecimal():
        raise ModelFileError(f"{str(path)!r} is a safetensors file, but was not saved by alternant")
    if int(version) > FORMAT_VERSION:
        raise ModelFileError(
            f"{str(path)!r} has format {version}, but this version of alternant reads formats up to {FORMAT_VERSION}: "
            "upgrade alternant"
        )


def _find_class(cls: Any, path: Path, name: str) -> Any:
    known = _subclasses(cls)
    if name not in known:
        raise ModelFileError(f"{str(path)!r} holds a model of class {name}, not {cls.__name__}: call {name}.load")
    return known[name]


def _subclasses(cls: Any) -> dict[str, Any]:
    """Return a class and all that are derived from it, by name; of classes with one name, the one they derive from.

    (`tune` derives classes with the name of the model, for models on events.)
    """
    pending: list[Any] = [cls]
    known: dict[str, Any] = {}
    while pending:
        candidate = pending.pop()
        known.setdefault(candidate.__name__, candidate)
        pending += candidate.__subclasses__()
    return known


def _restore(cls: Any, metadata: dict[str, str], tensors: dict[str, NDArray[Any]]) -> Any:
    """Build the model, refusing inconsistent tensors: kernels do not check the arrays of a model again."""
    parts = _restore_parts(metadata, tensors)
    tensors = {name: tensor for name, tensor in tensors.items() if not parts or not name[0].isdecimal()}
    items_of = _SPARSE_ITEMS if _SPARSE_ITEMS & tensors.keys() else _DENSE_ITEMS
    sides = set() if parts else _SPARSE_USERS | items_of if _SPARSE_USERS & tensors.keys() else _FACTORS
    texts = _TEXTS["user"] | _TEXTS["item"]
    optional = _INTERACTIONS | _IDS | texts | _DEGREES | _COUNTS | names_of("user") | names_of("item")
    unexpected = tensors.keys() - sides - optional
    missing = sides - tensors.keys()
    for together in (_INTERACTIONS, *_TEXTS.values(), _DEGREES, names_of("user"), names_of("item")):
        missing |= together - tensors.keys() if together & tensors.keys() else set()
    if unexpected or missing:
        raise KeyError(*sorted(missing), *sorted(unexpected))
    model = _build(cls, json.loads(metadata["parameters"]))
    users, items = model._stacks_of(parts) if parts else _unpack_factors(tensors)
    if users.ndim != 2 or items.ndim != 2 or users.shape[1] != items.shape[1] or users.dtype != items.dtype:
        raise ValueError(f"factors of shapes {users.shape} and {items.shape}")
    both = {} if parts else {"user_factors": users, "item_factors": items}
    if users.dtype not in (np.float32, np.float64) or not all(map(_is_finite, both.values())):
        raise ValueError("factors that are not finite floating-point numbers")
    state: dict[str, Any] = {**both, "interactions_": None, "partial_share_": 0.0}
    if "indptr" in tensors:
        csr = CSR(tensors["indptr"], tensors["indices"], tensors["values"], tuple(tensors["shape"].tolist()))
        _check_csr(csr, len(users), len(items))
        state["interactions_"] = csr
    for kind, factors in (("user", users), ("item", items)):
        packed = tensors.get(f"{kind}_ids")
        if packed is not None:
            state[f"_{kind}_ids"] = _unpack_ids(packed, len(factors))
        elif _TEXTS[kind] <= tensors.keys():
            state[f"_{kind}_ids"] = text_ids(tensors[f"{kind}_ids_offsets"], tensors[f"{kind}_ids_utf8"], len(factors))
    if "user_degrees" in tensors:
        state["_degrees"] = _unpack_degrees(tensors, metadata, len(users), len(items))
    for kind, factors in (("user", users), ("item", items)):
        if names_of(kind) & tensors.keys():
            prior = unpack_prior(kind, tensors, metadata, factors)
            _check_csr(prior.features, *prior.features.shape)
            state[f"_{kind}_prior"] = prior
    if (counts := tensors.get("item_counts")) is not None:
        if counts.dtype != np.int64 or counts.shape != (len(items),) or counts.min(initial=0) < 0:
            raise ValueError("numbers of interactions that do not fit the factors")
        state["_kept_item_counts"] = counts
    state["_library"] = metadata.get("library")
    for array in both.values():
        freeze(array)
    fitted = dict(json.loads(metadata["state"]))
    if parts:
        state |= model._of_parts(parts, state["interactions_"], fitted)
    for name, value in (state | {name: fitted[name] for name in _state_names(cls) if name in fitted}).items():
        setattr(model, name, tuple(value) if isinstance(value, list) else value)
    return model


def _build(cls: Any, parameters: dict[str, Any]) -> Any:
    """Return a model that is not fitted, from parameters in the form of `_plain`."""
    model = cls(**{name: _parameter(value) for name, value in parameters.items()})
    model._restore_nan()
    return model


def _parameter(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_parameter, value))
    return _build(_class_of_part(value["model"]), value["parameters"]) if isinstance(value, dict) else value


def _class_of_part(name: str) -> Any:
    from ._base import FactorModel  # which imports this file

    known = _subclasses(FactorModel)
    if name not in known:
        raise KeyError(f"a part of class {name}, which is not imported")
    return known[name]


def _restore_parts(metadata: dict[str, str], tensors: dict[str, NDArray[Any]]) -> list[Any]:
    """Build the models of a blend."""
    if "parts" not in metadata:
        return []
    parts = []
    for number, about in enumerate(json.loads(metadata["parts"])):
        start = f"{number}."
        own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
        parts.append(_restore(_class_of_part(about["model"]), about, own))
    return parts


def _state_names(model: Any) -> tuple[str, ...]:
    return (*model._fitted_state, "partial_share_")


def _pack_factors(users: Any, items: Any) -> dict[str, NDArray[Any]]:
    """Return factors as tensors: if the users' are sparse, the items' are stored transposed."""
    if isinstance(users, np.ndarray):
        return {"user_factors": users, "item_factors": items}
    tensors = _pack_csr("user_factors", users.to_csr())
    return tensors | ({"item_factors_transposed": items.T} if isinstance(items, np.ndarray)
                      else _pack_csr("item_factors", items.to_csr()))  # fmt: skip


def _pack_csr(name: str, rows: CSR) -> dict[str, NDArray[Any]]:
    return {f"{name}_indptr": rows.indptr, f"{name}_indices": rows.indices, f"{name}_values": rows.data}


def _unpack_factors(tensors: dict[str, NDArray[Any]]) -> tuple[Any, Any]:
    if "user_factors" in tensors:
        return tensors["user_factors"], tensors["item_factors"]
    from ._sparse_rows import SparseColumns, SparseRows  # of few models, and it imports scipy.sparse

    columns: Any = tensors.get("item_factors_transposed")
    if columns is None:  # as many items as there are columns, but one of them is of the constant
        count = len(tensors["item_factors_indptr"]) - 1
        columns = _unpack_csr("item_factors", tensors, count, count - 1)
    rows = _unpack_csr("user_factors", tensors, len(tensors["user_factors_indptr"]) - 1, columns.shape[0])
    items = SparseColumns.of(columns) if isinstance(columns, CSR) else columns.T
    return SparseRows.of(rows), items


def _unpack_csr(name: str, tensors: dict[str, NDArray[Any]], rows: int, columns: int) -> CSR:
    csr = CSR(tensors[f"{name}_indptr"], tensors[f"{name}_indices"], tensors[f"{name}_values"], (rows, columns))
    _check_csr(csr, rows, columns)
    return csr


def _is_finite(factors: Any) -> bool:
    return is_finite(factors if isinstance(factors, np.ndarray) else factors.data)


def pack_ids(ids: Ids, kind: str) -> NDArray[Any]:
    """Return ids as a tensor, or raise if a file can't represent them."""
    if ids.are_numbers:
        return ids.values
    if isinstance(ids, TextIds):
        return ids.text
    listed = ids.values.tolist()
    members = [value for value in listed if isinstance(value, Enum)]
    if members:
        name = type(members[0]).__name__
        raise TypeError(
            f"{kind} ids must not be members of an Enum to be saved, got {name}.{members[0].name}: fit on their "
            f"values, such as {members[0].value!r}"
        )
    others = {_described(value) for value in listed if not _can_be_saved(value)}
    if others:
        raise TypeError(
            f"{kind} ids must be strings, numbers, UUIDs, dates or datetimes to be saved, got "
            f"{', '.join(sorted(others))}: convert them to strings before the fit"
        )
    return np.frombuffer(json.dumps(listed, default=_typed).encode(), np.uint8)  # ASCII: JSON escapes the rest


def _can_be_saved(value: Any) -> bool:
    if type(value) is datetime:  # of the rules of a time zone, the text has only the present offset
        return value.tzinfo is None or type(value.tzinfo) is timezone
    return type(value) in (str, int, float, bool, UUID, date)


def _described(value: Any) -> str:
    return "datetime with a named time zone" if type(value) is datetime else type(value).__name__


def _typed(value: Any) -> dict[str, str]:
    return {type(value).__name__: str(value) if isinstance(value, UUID) else value.isoformat()}


def _untyped(value: dict[str, str]) -> Any:
    ((name, text),) = value.items()
    return _TYPED[name](text)


def _unpack_ids(packed: NDArray[Any], count: int) -> Ids:
    numbers = packed.dtype == np.int64
    ids = Ids(packed if numbers else object_array(json.loads(packed.tobytes(), object_hook=_untyped)))
    if len(ids) != count or not (are_distinct(packed) if numbers else len(set(ids.values.tolist())) == count):
        raise ValueError(f"{len(ids)} ids that do not fit {count} rows")
    return ids


def _unpack_degrees(
    tensors: dict[str, NDArray[Any]], metadata: dict[str, str], n_users: int, n_items: int
) -> Degrees:
    users, items = tensors["user_degrees"], tensors["item_degrees"]
    for degrees, rows in ((users, n_users), (items, n_items)):
        if degrees.dtype != np.int64 or degrees.shape != (rows,) or degrees.min(initial=0) < 0:
            raise ValueError("degrees that do not fit the factors")
    plain: list[Any] = json.loads(metadata["degrees"])
    if len(plain) == 3:  # an older file
        plain += [[n_users, n_items], [typical(users), typical(items)]]
    exponents, popularity, constants, of_fit, means = plain
    numbers = [*exponents, popularity, *constants, *of_fit, *means]
    lengths = [len(part) for part in (exponents, constants, of_fit, means)]
    if lengths != [2, 3, 2, 2] or not np.isfinite(numbers).all() or min(constants) <= 0:
        raise ValueError("degrees without exponents")
    return Degrees(users, items, tuple(exponents), popularity, tuple(constants), tuple(of_fit), tuple(means))


def _check_csr(csr: CSR, rows: int, columns: int) -> None:
    if csr.shape != (rows, columns) or not is_canonical(csr):
        raise ValueError("interactions that do not fit the factors")


def _plain_parameters(model: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in model.get_params().items()}


def _plain(value: Any) -> Any:
    """Return a parameter in a JSON-serializable form."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, (type, np.dtype)):
        return np.dtype(value).name
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if isinstance(value, Real):
        return float(value)  # a Fraction
    if isinstance(value, Guarded):  # a model
        return {"model": type(value).__name__, "parameters": _plain_parameters(value)}
    return None  # a random generator
