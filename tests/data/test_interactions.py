"""Interactions: what becomes of the rows of frames and arrays."""

import pytest

from alternant import Interactions

pd = pytest.importorskip("pandas", reason="these are frames of pandas")


@pytest.mark.parametrize("dtype", ["Int64", "string", "category", object])
@pytest.mark.parametrize("missing", [None, pd.NA], ids=["None", "NA"])
def test_a_missing_id_of_any_pandas_dtype_is_left_out_and_counted(dtype, missing):
    known = 7 if dtype == "Int64" else "x"
    frame = pd.DataFrame({"u": pd.Series([known, missing], dtype=dtype), "i": ["a", "b"]})
    found = Interactions.from_frame(frame, user="u", item="i")
    assert found.user_ids.tolist() == [known]
    assert found.describe().n_missing_ids == 1


def test_a_loop_over_interactions_is_refused_rather_than_empty():
    with pytest.raises(TypeError, match="not iterable"):
        list(Interactions.from_arrays([1], [2]))
