"""``alternant demo --walkthrough``: alternating least squares on two users and two items, step by step."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from ..models import ExplicitALS, ImplicitALS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._typing import BackendName
    from ..models import FactorModel, FitState

WIDTH = 80
USERS = np.array([[0.5, 0.2], [0.3, 0.1]])
ITEMS = np.array([[0.2, 0.4], [0.1, 0.3]])
RATINGS = np.array([[4.0, 2.0], [3.0, 5.0]])
REGULARIZATION = 0.1
SHOWN = 2  # iterations shown in full
SHOWN_SHORT = (1, 2, 3, 4, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)  # iterations whose errors are shown

COMMON: dict[str, Any] = {
    "factors": 2,
    "regularization": REGULARIZATION,
    "regularization_scaling": "none",
    "solver": "cholesky",
    "iterations": 5000,
    "early_stopping": 1e-10,
    "warm_start": True,
    "dtype": "float64",
}


def run_walkthrough(backend: BackendName = "auto", num_threads: int | None = None) -> None:
    """Print the walkthrough, for explicit and for implicit feedback.

    Parameters
    ----------
    backend : {"auto", "cython", "numba", "numpy"}
        The kernels to use.
    num_threads : int, optional
        Number of threads; by default, all available to the process.
    """
    runs: dict[str, Any] = {"backend": backend, "num_threads": num_threads}
    _heading("Explicit feedback: two users have rated two items", "=")
    _matrices(ratings=RATINGS)
    _paragraph("Find two numbers for each user (x) and each item (y) whose products are near the ratings r: minimise")
    print(f"\n    sum (r - x . y)^2 + lambda (sum |x|^2 + sum |y|^2),   lambda = {REGULARIZATION}")
    _paragraph("With the items fixed, the best x of a user solves a small linear system,")
    print("\n    (Y^T Y + lambda I) x = Y^T r,")
    _paragraph("and with the users fixed, so does the best y of an item. Take turns until nothing changes.")
    _tell(ExplicitALS(**COMMON, biases=False, **runs), RATINGS, RATINGS)

    _heading("Implicit feedback: the same numbers, as counts of plays", "=")
    _matrices(plays=RATINGS, confidence=1 + RATINGS)
    _paragraph(
        "A play is not a rating. That there is one says that the user likes the item (preference p = 1), and the more "
        "plays, the more surely (confidence c = 1 + alpha r, here with alpha = 1). What nobody has played would have "
        "p = 0 and c = 1. Minimise"
    )
    print(f"\n    sum c (p - x . y)^2 + lambda (sum |x|^2 + sum |y|^2),   lambda = {REGULARIZATION}")
    _paragraph("With the items fixed, the best x of a user solves, with C = diag(c),")
    print("\n    (Y^T C Y + lambda I) x = Y^T C p.")
    plain = ImplicitALS(**COMMON, weighting="hu", alpha=1.0, acceleration=None, **runs)
    _tell(plain, scipy.sparse.csr_array(RATINGS), np.ones((2, 2)))


def _tell(model: FactorModel, data: Any, truth: NDArray[Any]) -> None:
    """Fit the model from the initial factors and print its progress."""
    model.user_factors, model.item_factors = USERS, ITEMS
    print("\n  The start")
    everybody = np.arange(2)[:, None]
    _state(USERS, ITEMS, model.predict(everybody, np.arange(2)), truth)
    course: list[tuple[int, str, float, float]] = []

    def tell(state: FitState) -> None:
        fixed = {"users": "items", "items": "users"}[state.solved]
        course.append((state.iteration, state.solved, float(np.mean(state.errors**2)), state.objective))
        if state.iteration <= SHOWN:
            print(f"\n  Iteration {state.iteration}: {state.solved} solved, {fixed} fixed")
            _state(state.user_factors, state.item_factors, state.predictions.reshape(2, 2), truth)

    model.fit(data, callback=tell, callback_at="half_sweep", show_progress=False)
    print("\n  Until nothing changes")
    print(f"    {'iteration':>9}  {'solved':<8}{'mean squared error':>20}{'objective':>14}")
    for iteration, solved, error, objective in course:
        if iteration in SHOWN_SHORT or iteration == course[-1][0]:
            print(f"    {iteration:>9}  {solved:<8}{error:>20.6f}{objective:>14.6f}")
    _paragraph(
        "The objective falls with every half-sweep. The error alone need not: lambda trades a little of it for smaller "
        "factors."
    )
    print("\n  The end")
    _state(model.user_factors, model.item_factors, model.predict(everybody, np.arange(2)), truth)


def _state(users: Any, items: Any, predictions: NDArray[Any], truth: NDArray[Any]) -> None:
    _matrices(users=users, items=items, predictions=predictions, differences=truth - predictions)
    print(f"    mean squared error {np.mean((truth - predictions) ** 2):.6f}")


def _matrices(**matrices: Any) -> None:
    """Print 2 x 2 matrices side by side, with their names above."""
    print("    " + "".join(f"{name:<19}" for name in matrices).rstrip())
    for row in range(2):
        cells = (f"{matrix[row][0]:>8.4f}{matrix[row][1]:>8.4f}   " for matrix in matrices.values())
        print("    " + "".join(cells).rstrip())


def _heading(text: str, line: str) -> None:
    print(f"\n{text}\n{line * len(text)}")


def _paragraph(text: str) -> None:
    print()
    print(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  "))
