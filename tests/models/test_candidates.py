"""Candidates for each user: a list, a table or a matrix, and the same for everybody."""

import array
import collections

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import ImplicitALS, Interactions, datasets

DATA = datasets.load_msweb().interactions[:300]
MODEL = ImplicitALS(factors=4, random_state=0).fit(DATA)
NAMED = ImplicitALS(factors=4, random_state=0).fit(Interactions.from_arrays(*DATA.nonzero()))
LISTS = [[3, 7, 1], [200], []]


@pytest.mark.parametrize("form", [
    lambda lists: lists, lambda lists: [np.array(one, np.int64) for one in lists], lambda lists: tuple(lists),
    lambda lists: sp.csr_array((np.ones(4), ([0, 0, 0, 1], [3, 7, 1, 200])), shape=(3, DATA.shape[1])),
])  # fmt: skip
def test_each_user_has_candidates_of_their_own(form):
    ids, scores = MODEL.recommend([5, 6, 7], 4, candidate_items=form(LISTS), exclude_seen=False)
    for u, listed, values, own in zip([5, 6, 7], ids, scores, LISTS, strict=True):
        alone, theirs = MODEL.recommend(u, 4, candidate_items=own, exclude_seen=False)
        np.testing.assert_array_equal(listed, alone)
        np.testing.assert_array_equal(values, theirs)


@pytest.mark.parametrize("library", ["pyarrow", "polars", "pandas", "array", "deque", "range", "keys"])
@pytest.mark.parametrize("model", [MODEL, NAMED], ids=["rows", "ids"])
def test_the_lists_of_candidates_may_be_of_any_kind(model, library):
    lists = [[3, 4, 5], [7, 8, 9]]
    if library in ("pyarrow", "polars", "pandas"):
        module = pytest.importorskip(library, reason="one of the libraries of frames")
        make = {"pyarrow": "array", "polars": "Series", "pandas": "array"}[library]
        forms = [getattr(module, make)(one) for one in lists]
        if library == "pyarrow":
            forms[1] = module.chunked_array([forms[1]])
    else:
        form = {
            "array": lambda one: array.array("q", one), "deque": collections.deque, "keys": dict.fromkeys,
            "range": lambda one: range(one[0], one[-1] + 1),
        }[library]
        forms = [form(one).keys() if library == "keys" else form(one) for one in lists]
    expected = model.recommend([5, 6], 3, candidate_items=lists, exclude_seen=False)
    found = model.recommend([5, 6], 3, candidate_items=forms, exclude_seen=False)
    np.testing.assert_array_equal(found[0], expected[0])


def test_a_table_has_a_row_for_each_user_and_seen_or_excluded_items_stay_out():
    table = np.tile(np.arange(20), (2, 1))
    ids, _ = MODEL.recommend([5, 6], 20, candidate_items=table, exclude_items=[4])
    for u, listed in zip([5, 6], ids, strict=True):
        seen = DATA[[u]].indices
        assert set(listed) - {-1} == set(range(20)) - set(seen) - {4}


def test_raw_ids_even_tuples():
    pairs = DATA.tocoo()
    model = ImplicitALS(factors=4, random_state=0).fit(
        Interactions.from_arrays(pairs.row, [("site", i) for i in pairs.col.tolist()])
    )
    ids, _ = model.recommend([5, 6], 2, candidate_items=[[("site", 3)], [("site", 1), ("site", 7)]], exclude_seen=False)
    assert ids[0].tolist() == [("site", 3), None]
    ids, _ = model.recommend([5, 6], 1, candidate_items=[("site", 3)], exclude_seen=False)
    assert ids[:, 0].tolist() == [("site", 3)] * 2


@pytest.mark.parametrize(("candidates", "error", "message"), [
    ([[1], [2]], ValueError, "candidate_items must be one list, or one for each of 3 users, got 2 lists"),
    ([[1], [2], [999]], IndexError, "candidate_items must lie between 0 and"),
    (sp.csr_array((3, 4)), ValueError, "candidate_items must have one column for each of the 285 items"),
])  # fmt: skip
def test_inconsistent_lists_of_candidates_are_refused(candidates, error, message):
    with pytest.raises(error, match=message):
        MODEL.recommend([5, 6, 7], 2, candidate_items=candidates)
