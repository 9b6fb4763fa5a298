"""The walkthrough's every number is what dense linear algebra says; a published version of this story is not."""

import re

import numpy as np
import pytest

from alternant.cli.app import main
from alternant.kernels import available_backends

USERS, ITEMS = np.array([[0.5, 0.2], [0.3, 0.1]]), np.array([[0.2, 0.4], [0.1, 0.3]])
RATINGS = np.array([[4.0, 2.0], [3.0, 5.0]])
LAMBDA = 0.1
NUMBER = r"-?\d+\.\d+"


def dense_half_sweep(Y, weights, targets):
    """Solve (Y^T W Y + lambda I) x = Y^T t for every row, to the letter."""
    rows = zip(weights, targets, strict=True)
    return np.array([np.linalg.solve(Y.T @ np.diag(w) @ Y + LAMBDA * np.eye(2), Y.T @ t) for w, t in rows])


def dense_story(weights, truth, iterations):
    """What comes after each half-sweep: (iteration, solved, users, items, mean squared error, objective)."""
    X, Y, story = USERS, ITEMS, []
    for iteration in range(1, iterations + 1):
        for solved in ("users", "items"):
            if solved == "users":
                X = dense_half_sweep(Y, weights, weights * truth)
            else:
                Y = dense_half_sweep(X, weights.T, (weights * truth).T)
            errors = truth - X @ Y.T
            objective = (weights * errors**2).sum() + LAMBDA * ((X**2).sum() + (Y**2).sum())
            story.append((iteration, solved, X, Y, (errors**2).mean(), objective))
    return story


def printed_states(text):
    """Each printed state: its title, 2 x 8 numbers, and the mean squared error."""
    heads = r"\n  (\S[^\n]*)\n    users +items +predictions +differences\n"
    pattern = rf"{heads}([^\n]*)\n([^\n]*)\n    mean squared error ({NUMBER})"
    for title, first, second, error in re.findall(pattern, text):
        yield title, np.array([[float(x) for x in re.findall(NUMBER, line)] for line in (first, second)]), float(error)


@pytest.mark.parametrize(
    "backend", ["cython", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("numba", "numpy"))]
)
def test_every_number_is_that_of_dense_linear_algebra(capsys, backend):
    reason = available_backends()[backend]
    if reason:
        pytest.skip(f"the {backend} backend can't run here: {reason}")
    assert main(["demo", "--walkthrough", "--backend", backend]) == 0
    explicit, implicit = capsys.readouterr().out.split("Implicit feedback")
    for text, weights, truth in ((explicit, np.ones((2, 2)), RATINGS), (implicit, 1 + RATINGS, np.ones((2, 2)))):
        rows = re.findall(rf"^ +(\d+)  (users|items) +({NUMBER}) +({NUMBER})$", text, re.MULTILINE)
        last = int(rows[-1][0])
        story = dense_story(weights, truth, last)
        states = list(printed_states(text))
        expected = [("The start", USERS, ITEMS), *((f"Iteration {i}: {solved} solved", X, Y)
                                                  for i, solved, X, Y, *_ in story[:4]),
                    ("The end", *story[-1][2:4])]  # fmt: skip
        assert len(states) == len(expected) == 6
        for (title, numbers, error), (name, X, Y) in zip(states, expected, strict=True):
            assert title.startswith(name)
            np.testing.assert_allclose(numbers, np.hstack([X, Y, X @ Y.T, truth - X @ Y.T]), rtol=0, atol=5.1e-5)
            assert error == pytest.approx(((truth - X @ Y.T) ** 2).mean(), abs=5.1e-7)
        told = {(i, solved): figures for i, solved, _, _, *figures in story}
        for iteration, solved, error, objective in rows:
            assert [float(error), float(objective)] == pytest.approx(told[int(iteration), solved], abs=5.1e-7)
        objectives = [float(row[3]) for row in rows]
        assert objectives == sorted(objectives, reverse=True), "the objective only falls"
        assert last < 5000, "it ends because it has converged, not because its time was up"
        onward = dense_story(weights, truth, last + 2000)[-1]
        for shown, limit in zip(story[-1][2:4], onward[2:4], strict=True):
            np.testing.assert_allclose(shown, limit, atol=1e-4)  # the last digits printed have come to rest


def test_the_first_predictions_are_the_products_of_the_start(capsys):
    main(["demo", "--walkthrough"])
    text = capsys.readouterr().out
    _, numbers, error = next(printed_states(text))
    np.testing.assert_array_equal(numbers[:, 4:6], [[0.18, 0.11], [0.10, 0.06]])
    assert error == pytest.approx((3.82**2 + 1.89**2 + 2.9**2 + 4.94**2) / 4, abs=5e-7)
    assert max(map(len, text.splitlines())) <= 80
