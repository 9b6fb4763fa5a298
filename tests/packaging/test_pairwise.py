"""The choice of the cases that the short suite takes."""

from itertools import combinations, product

from hypothesis import given
from hypothesis import strategies as st
from pairwise import covering, pairs


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), left_out=st.sets(st.integers(0, 624)))
def test_any_two_values_that_a_case_has_meet_in_a_chosen_one(sizes, left_out):
    names = "abcd"[: len(sizes)]
    cases = [dict(zip(names, values, strict=True)) for values in product(*map(range, sizes))]
    cases = [case for number, case in enumerate(cases) if number not in left_out]
    chosen = [cases[number] for number in covering(cases, pairs)]
    for strength in (1, 2):
        met = {part for case in chosen for part in combinations(case.items(), min(strength, len(names)))}
        assert met == {part for case in cases for part in combinations(case.items(), min(strength, len(names)))}


def test_the_choice_is_small_and_always_the_same():
    cases = [dict(zip("abc", values, strict=True)) for values in product(range(8), range(8), range(2))]
    chosen = covering(cases, pairs)
    assert 64 <= len(chosen) < 80
    assert chosen == covering(cases, pairs)


def test_of_pooled_levels_each_meets_each_dtype_and_each_case_one_of_them():
    levels = frozenset({"cython-avx2", "cython-baseline"})
    cases = [
        {"kernels": kernels, "dtype": dtype, "case": case}
        for kernels, dtype, case in product(["numba", "cython-avx512", *sorted(levels)], "fd", range(10))
    ]
    chosen = [cases[number] for number in covering(cases, lambda case: pairs(case, levels))]
    for kernels in ("numba", "cython-avx512"):
        assert {case["case"] for case in chosen if case["kernels"] == kernels} == set(range(10))
    for level in levels:
        assert {case["dtype"] for case in chosen if case["kernels"] == level} == {"f", "d"}
    assert {case["case"] for case in chosen if case["kernels"] in levels} == set(range(10))
    assert len(chosen) < 40
