"""multiply, gramian, squared_norms: every implementation against NumPy in float64."""

import numpy as np
import pytest

from alternant import kernels as public

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}
SHAPES = {"full": np.array, "lower": np.tril, "upper": np.triu}

SINGLE = {"rows": np.ones((4, 2), np.float32), "matrix": np.eye(2, dtype=np.float32)}


def normal(rows, columns, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("m", "f"), [(1, 1), (300, 15), (2500, 64), (700, 65), (600, 130), (0, 3)])
@pytest.mark.parametrize("more", [0, 3])
def test_a_product_is_numpy_s_and_fills_up_with_zeros(kernels, dtype, shape, m, f, more):
    rows, matrix = normal(m, f + 2 * more, dtype), SHAPES[shape](normal(f, f, dtype, seed=1))
    rows.flags.writeable = matrix.flags.writeable = False
    out = np.full((m, f + more), np.nan, dtype)
    kernels.multiply(rows, matrix, out, shape, 2)
    expected = rows[:, :f].astype(np.float64) @ matrix
    np.testing.assert_allclose(out[:, :f], expected, rtol=0, atol=TOLERANCE[dtype] * f)
    assert not out[:, f:].any()
    tiny = dtype(1e-30 if dtype is np.float32 else 1e-200)
    below = np.full_like(rows, -tiny), tiny * np.eye(f, dtype=dtype)
    kernels.multiply(*below, nothing := np.full_like(out, np.nan), shape, 2)
    assert not nothing.any()
    assert not np.signbit(nothing).any()
    for threads in (1, 8):
        other = np.full_like(out, np.nan)
        kernels.multiply(rows, matrix, other, shape, threads)
        np.testing.assert_array_equal(other, out)


@pytest.mark.parametrize("shape", ["full", "lower"])
@pytest.mark.parametrize(("m", "f"), [(300, 15), (2500, 64), (600, 130)])
def test_a_product_may_take_the_place_of_the_rows(kernels, dtype, shape, m, f):
    for more in (0, 5):
        rows, matrix = normal(m, f + more, dtype), SHAPES[shape](normal(f, f, dtype, seed=1))
        expected = rows[:, :f].astype(np.float64) @ matrix
        kernels.multiply(rows, matrix, rows, shape, 2)
        np.testing.assert_allclose(rows[:, :f], expected, rtol=0, atol=TOLERANCE[dtype] * f)
        assert not rows[:, f:].any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("m", "f"), [(1, 1), (300, 15), (2500, 64), (600, 130), (0, 3)])
@pytest.mark.parametrize("more", [0, 3])
def test_a_product_in_float16_is_the_one_in_float32_rounded(kernels, shape, m, f, more):
    rows, matrix = normal(m, f + more, np.float32), SHAPES[shape](normal(f, f, np.float32, seed=1))
    rows *= np.logspace(-9, 3, m, dtype=np.float32)[:, None]
    rows[3::7] = 0
    full, out = np.empty_like(rows), np.full((m, f + more), 1, np.float16)
    kernels.multiply(rows, matrix, full, shape, 2)
    for threads in (1, 2, 8):
        kernels.multiply(rows, matrix, out, shape, threads)
        np.testing.assert_array_equal(out.view(np.uint16), full.astype(np.float16).view(np.uint16))
        out[:] = 1


@pytest.mark.nightly
def test_every_float32_is_rounded_to_float16_as_numpy_rounds_it(kernels):
    """All exponents; mantissas around each tie; both signs. A row of odd length takes the way of single numbers."""
    high = np.arange(1 << 19, dtype=np.uint32) << 13
    bits = (high[:, None] + np.array([0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF], np.uint32)).ravel()
    numbers = bits.view(np.float32)
    numbers = numbers[~np.isnan(numbers)]
    one = np.ones((1, 1), np.float32)
    for width in (1, 16):
        rows = np.zeros((len(numbers), width), np.float32)
        rows[:, 0] = numbers
        out = np.empty(rows.shape, np.float16)
        with np.errstate(over="ignore", invalid="ignore"):
            kernels.multiply(rows, one, out, "full", 2)
            expected = (rows[:, 0] + 0).astype(np.float16)
        np.testing.assert_array_equal(out[:, 0].view(np.uint16), expected.view(np.uint16))


@pytest.mark.parametrize(("m", "f"), [(1, 1), (300, 15), (200_000, 16), (2500, 64), (600, 130), (0, 3), (300, 600)])
def test_a_gramian_is_numpy_s_in_float64(kernels, dtype, m, f):
    rows = normal(m, f, dtype)
    rows.flags.writeable = False
    out = np.full((f, f), np.nan)
    kernels.gramian(rows, out, 2)
    wide = rows.astype(np.float64)
    np.testing.assert_allclose(out, wide.T @ wide, rtol=0, atol=1e-13 * max(m, 1))
    np.testing.assert_array_equal(out, out.T)
    for threads in (1, 8):
        other = np.empty((f, f))
        kernels.gramian(rows, other, threads)
        np.testing.assert_array_equal(other, out)


def test_a_gramian_that_overflows_is_not_finite_and_does_not_warn(kernels):
    out = np.zeros((2, 2))
    kernels.gramian(np.full((3, 2), 1e200), out)
    assert np.isinf(out).all()
    kernels.gramian(np.full((3, 2), np.nan), out)
    assert np.isnan(out).all()


@pytest.mark.parametrize(("m", "f"), [(1, 1), (300, 15), (2500, 64), (0, 3)])
def test_squared_norms_are_summed_in_float64(kernels, dtype, m, f):
    rows = normal(m, f, dtype)
    out = np.full(m, np.nan)
    kernels.squared_norms(rows, out, 2)
    np.testing.assert_allclose(out, (rows.astype(np.float64) ** 2).sum(axis=1), rtol=1e-13)
    other = np.empty(m)
    kernels.squared_norms(rows, other, 1)
    np.testing.assert_array_equal(other, out)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrix": np.ones((3, 2))}, r"matrix must be square, with at most 2 columns .*, got \(3, 2\)"),
        ({"matrix": np.ones((3, 3))}, r"matrix must be square, with at most 2 columns .*, got \(3, 3\)"),
        ({"matrix": np.ones((2, 2), np.float32)}, "matrix must be a float64 array"),
        ({"out": np.ones((4, 1))}, r"out must have shape \(4, 2\) or more columns, got \(4, 1\)"),
        ({"out": np.ones((5, 2))}, "out must have shape"),
        ({"triangle": "both"}, 'triangle must be "full", "lower" or "upper"'),
        ({"out": "rows", "triangle": "upper"}, "out must share no memory"),
        ({"out": "matrix"}, "out must have shape"),
        ({"num_threads": 0}, "num_threads must be a whole number"),
        ({"out": np.zeros((4, 2), np.float16)}, "out must be a float64 array, got a float16 array"),
        (SINGLE | {"out": np.zeros((4, 2), np.int16)}, "out must be a float32 array, got an int16 array"),
        (SINGLE | {"out": [[0, 0]] * 4}, "out must be a float32 array, got list"),
    ],
)
def test_wrong_products_are_refused(change, message):
    given = {"rows": np.ones((4, 2)), "matrix": np.eye(2), "out": np.zeros((4, 2))} | change
    if isinstance(given["out"], str):
        given["out"] = given[given["out"]]
    before = given["out"].copy()
    with pytest.raises((TypeError, ValueError), match=message):
        public.multiply(**given)
    np.testing.assert_array_equal(given["out"], before)


def test_wrong_outputs_of_sums_are_refused():
    with pytest.raises(ValueError, match=r"out must have shape \(2, 2\)"):
        public.gramian(np.ones((4, 2)), np.zeros((2, 3)))
    with pytest.raises(TypeError, match="out must be a float64 array"):
        public.gramian(np.ones((4, 2), np.float32), np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match=r"out must have shape \(4,\)"):
        public.squared_norms(np.ones((4, 2)), np.zeros(3))


def test_sums_do_not_overwrite_what_they_are_of():
    square, columns = np.ones((3, 3)), np.ones((50, 1))
    with pytest.raises(ValueError, match="out is filled, but shares memory with another argument"):
        public.gramian(square, square)
    with pytest.raises(ValueError, match="out is filled, but shares memory with another argument"):
        public.squared_norms(columns[:40], columns[1:41, 0])
    assert (square == 1).all()
    assert (columns == 1).all()
