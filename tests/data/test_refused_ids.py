"""What is refused as an id, or for a twin of another one, wherever ids come in."""

import datetime
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import CosineMF, ImplicitALS, Interactions

pd = pytest.importorskip("pandas", reason="one of the libraries of frames")
pl = pytest.importorskip("polars", reason="one of the libraries of frames")
pa = pytest.importorskip("pyarrow", reason="one of the libraries of frames")

TRUTHS = {
    "list": lambda: [True, 2], "objects": lambda: np.array([np.True_, 2], object), "array": lambda: np.array([True]),
    "masked": lambda: np.ma.array([True, False], mask=[False, True]),
    "pandas": lambda: pd.Series([True, 2], dtype=object),
    "boolean": lambda: pd.Series([True, None], dtype="boolean"), "polars": lambda: pl.Series([True, False]),
    "pyarrow": lambda: pa.array([True, None]), "scalars": lambda: [np.True_, 2],
}  # fmt: skip
ROUNDED = {
    "list": lambda: [2.0**60, 1], "array": lambda: np.array([2.0**53, 1]), "float32": lambda: np.array([2.0**24], "f4"),
    "scalars": lambda: [np.float32(2**24), 1], "objects": lambda: np.array([-(2.0**60), "a"], object),
    "pandas": lambda: pd.Series([2**60, 2**60 + 1, None]), "polars": lambda: pl.Series([2.0**60, None]),
    "pyarrow": lambda: pa.array([2.0**60, None]),
    "beyond int64": lambda: [1e300, 2],
}  # fmt: skip
WRONG = [pytest.param(make, TypeError, "(?i)bool", id=f"boolean-{name}") for name, make in TRUTHS.items()]
WRONG += [pytest.param(make, ValueError, "Int64 or as strings", id=f"rounded-{name}") for name, make in ROUNDED.items()]


@pytest.mark.parametrize(("make", "kind", "message"), WRONG)
def test_booleans_and_rounded_floats_are_refused_wherever_ids_come_in(make, kind, message):
    ids = make()
    n, listed = len(ids), ids.to_pylist() if isinstance(ids, pa.Array) else list(ids)
    known = Interactions.from_arrays([1, 2, 2**60, 3], [1, 2, 2**60, 3], [1, 0, 1, 0])
    model, other = CosineMF(factors=2, epochs=1).fit(known), ImplicitALS(factors=2, iterations=1).fit(known)
    row = sp.csr_array(np.ones((n, 4)))
    frame = pd.DataFrame({"user": pd.Series(listed, dtype=object), "item": range(n)})
    calls = [
        lambda: Interactions.from_arrays(ids, range(n)), lambda: Interactions.from_arrays(range(n), ids),
        lambda: Interactions.from_frame(frame, user="user", item="item"),
        lambda: known.reindex(users=ids), lambda: known.reindex(items=ids),
        lambda: known.append(Interactions.from_arrays(ids, range(n), np.ones(n))),
        lambda: model.update(ids, [1] * n, [1] * n), lambda: model.update([1] * n, ids, [1] * n),
        lambda: other.partial_fit_users(ids, row), lambda: other.partial_fit_items(ids, row),
        lambda: other.recommend(ids), lambda: other.recommend(ids, unknown="empty"),
        lambda: other.recommend_frame(ids), lambda: other.recommend_all(users=ids), lambda: other.predict(ids, [1] * n),
        lambda: other.similar_items(ids), lambda: other.recommend(1, exclude_items=ids),
        lambda: other.recommend(1, candidate_items=ids), lambda: other.recommend([1], candidate_items=[listed]),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(kind, match=message):
            call()
    assert known.user_ids.tolist() == model.user_ids_.tolist() == other.user_ids_.tolist() == [1, 2, 3, 2**60]


@pytest.mark.parametrize("ids", [[True, 1], (np.True_, 1), np.array([True, False])], ids=str)
def test_booleans_are_no_row_numbers(ids):
    matrix = sp.csr_array(([1.0, 0, 1, 1], ([0, 1, 2, 3], [0, 1, 2, 3])))
    model = CosineMF(factors=2, epochs=1).fit(matrix)
    for call in (lambda: model.update(ids, [1, 2], [1, 1]), lambda: model.recommend(ids),
                 lambda: model.recommend(ids, unknown="empty"), lambda: model.similar_items(ids),
                 lambda: model.recommend(0, exclude_items=ids)):  # fmt: skip
        with pytest.raises(TypeError, match="whole numbers"):
            call()


def test_whole_floats_that_are_exact_stay_whole_numbers():
    largest = 2.0**53 - 1
    assert Interactions.from_arrays([largest, 1.0, None], [1, 2, 3]).user_ids.tolist() == [1, 2**53 - 1]
    assert Interactions.from_arrays(np.array([largest, np.nan]), [1, 2]).user_ids.tolist() == [2**53 - 1]
    big = pd.DataFrame({"user": pd.array([2**60, 2**60 + 1, None], "Int64"), "item": [1, 2, 3]})
    assert Interactions.from_frame(big, user="user", item="item").user_ids.tolist() == [2**60, 2**60 + 1]
    with pytest.raises(ValueError, match="Int64 or as strings"):  # where 32 bits end
        Interactions.from_arrays(pl.Series([2.0**24], dtype=pl.Float32), [1])
    assert Interactions.from_arrays(pl.Series([2.0**24 - 1], dtype=pl.Float32), [1]).user_ids.tolist() == [2**24 - 1]


DAY = datetime.date(2024, 1, 2)
MIDNIGHT = datetime.datetime(2024, 1, 2)
TWINS = [
    (1, "1"), (1, b"1"), ("1", b"1"), (-7, "-7"), (2.5, "2.5"), (Decimal("2.5"), "2.5"), (Decimal("2.50"), "2.5"),
    (0.1, Decimal("0.1")), (DAY, "2024-01-02"), (MIDNIGHT, "2024-01-02 00:00:00"), (MIDNIGHT, "2024-01-02T00:00:00"),
    (DAY, MIDNIGHT), (b"ann", "ann"), (2**70, str(2**70)), (UUID(int=5), str(UUID(int=5))),
]  # fmt: skip


@pytest.mark.parametrize(("one", "twin"), [*TWINS, *(pair[::-1] for pair in TWINS)], ids=repr)
@pytest.mark.parametrize("other", ["first", 77])
def test_ids_of_other_types_that_are_written_the_same_are_refused(one, twin, other):
    """Beside a known id, beside one of the right type, and beside each other."""
    known = Interactions.from_arrays([one, other], [one, other], [1.0, 0])
    before = known.user_ids.tolist()
    model, als = CosineMF(factors=2, epochs=1).fit(known), ImplicitALS(factors=2, iterations=1).fit(known)
    row = sp.csr_array(np.ones((2, 2)))
    more = Interactions.from_arrays([twin, other], [twin, other], [1.0, 0])
    calls = [
        lambda: Interactions.from_arrays([one, other, twin], [1, 2, 3]),
        lambda: Interactions.from_arrays([1, 2, 3], [twin, other, one]),
        lambda: known.append(more), lambda: known.reindex(users=[other, twin]),
        lambda: known.reindex(items=[other, twin]), lambda: known.reindex(users=[one, twin]),
        lambda: model.update([other, twin], [other] * 2, [1, 1]),
        lambda: model.update([other] * 2, [other, twin], [1, 1]), lambda: als.partial_fit_users([other, twin], row),
        lambda: als.recommend([other, twin], unknown="empty"), lambda: als.set_params(warm_start=True).fit(more),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(TypeError, match="convert them first"):
            call()
    assert known.user_ids.tolist() == model.user_ids_.tolist() == als.user_ids_.tolist() == before
    model = CosineMF(factors=2, epochs=1).fit(Interactions.from_arrays([other, "more"], [1, 2], [1.0, 0]))
    with pytest.raises(TypeError, match="convert them first"):  # both are new
        model.update([other, one, twin], [1, 1, 1], [1, 1, 1])


def test_ids_of_other_types_that_are_written_otherwise_are_accepted():
    for ids in ([1, "01"], [1, "1.0"], [2, "²"], [DAY, "20240102"], [("1",), "('1',)"], [b"\xff", "a"]):
        known = Interactions.from_arrays(ids, ids)
        assert set(known.user_ids.tolist()) == set(ids)
        assert known.reindex(users=ids[::-1]).user_ids.tolist() == ids[::-1]
    assert Interactions.from_arrays([1, 1.0, Decimal("1")], [1, 2, 3]).user_ids.tolist() == [1]


@pytest.mark.parametrize(("column", "message"), [
    ({1, 2}, r"a set, which has no order .*: pass sorted\(NAME\)"), (frozenset({1}), r"a frozenset.*sorted\(NAME\)"),
    ({1: 2, 3: 4}, r"a dict: pass list\(NAME\) for its keys, or list\(NAME.values\(\)\)"),
    ({1: 2, 3: 4}.values(), r"dict_values: pass list\(NAME\)"), ({1: 2}.keys(), r"dict_keys: pass list\(NAME\)"),
    ((one for one in [1, 2]), r"generator: pass list\(NAME\)"), (map(int, "12"), r"map: pass list\(NAME\)"),
    ("ab", "a single one, 'ab': pass a list"), (b"ab", "a single one, b'ab': pass a list"),
], ids=lambda one: type(one).__name__)  # fmt: skip
def test_what_is_no_column_is_told_how_to_become_one(column, message):
    for name in ("users", "items", "values", "times"):
        columns = {"users": [1, 2], "items": [1, 2], name: column}
        with pytest.raises(TypeError, match=f"^{name} must be a list of .*got " + message.replace("NAME", name)):
            Interactions.from_arrays(**columns)
