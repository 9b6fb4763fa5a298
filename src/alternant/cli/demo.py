"""``alternant demo``: train on real visits to a web site, measure, and show what is recommended."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from .._utils.threads import resolve_num_threads
from ..datasets import MSWeb, load_msweb
from ..evaluation import RankingMetrics, leave_one_out, ranking_metrics
from ..kernels import active_backend, get_backend
from ..models import ImplicitALS, Popularity

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from .._typing import BackendName
    from ..kernels._registry import Backend

WIDTH = 80
K = 10  # length of the lists that are evaluated
SHOWN = 5  # length of the lists that are printed
SETTINGS: dict[str, Any] = {"factors": 64, "random_state": 0}  # nothing is tuned
VISITORS = (13811, 14767, 31239)  # judging by their visits, one builds web sites, one runs Windows NT, one uses Office

NEXT = """\
from alternant import ImplicitALS, datasets
visits = datasets.load_msweb().interactions  # or any scipy.sparse matrix
model = ImplicitALS(factors=64, random_state=0).fit(visits)
ids, scores = model.recommend([0, 1, 2], k=10)
"""


def run_demo(backend: BackendName = "auto", num_threads: int | None = None) -> None:
    """Print the demonstration.

    Parameters
    ----------
    backend : {"auto", "cython", "numba", "numpy"}
        The kernels to use.
    num_threads : int, optional
        Number of threads; by default, all available to the process.

    Raises
    ------
    BackendUnavailableError
        If the backend can't run here; the message says why.
    """
    kernels = active_backend() if backend == "auto" else get_backend(backend)
    threads = resolve_num_threads(num_threads)
    data = load_msweb()
    train, test = leave_one_out(data.interactions, random_state=0)
    users = np.flatnonzero(np.diff(test.indptr))
    _print_setting(data, kernels, threads)

    model = ImplicitALS(**SETTINGS, backend=backend, num_threads=num_threads)
    baseline = Popularity(backend=backend, num_threads=num_threads)
    _heading("Training")
    _paragraph(repr(model))
    _paragraph(
        f"on {train.nnz:,} visits. Of each of the {len(users):,} visitors with two visits or more, one visit is held "
        "out, chosen at random."
    )
    print(flush=True)  # before the progress bar, which goes to stderr
    start = time.perf_counter()
    model.fit(train, show_progress=True)
    seconds = time.perf_counter() - start
    baseline.fit(train)
    _paragraph(f"{model.n_iter_} iterations in {seconds:.2f} s.")

    recommended, _ = model.recommend(users, k=K)
    popular, _ = baseline.recommend(users, k=K)
    _print_quality(ranking_metrics(popular, test[users]), ranking_metrics(recommended, test[users]))

    _heading("Three visitors")
    for user in VISITORS:
        if user != VISITORS[0]:
            print()
        _print_visitor(user, data.item_titles, train, test, recommended[np.searchsorted(users, user)])

    _heading("Next")
    print(textwrap.indent(NEXT, "  "))
    _paragraph("docs/quickstart.md goes on from here.")


def _print_setting(data: MSWeb, kernels: Backend, threads: int) -> None:
    n_users, n_items = data.interactions.shape
    print(f"alternant {__version__}")
    _heading("Data")
    _paragraph(f"{data.description} {data.interactions.nnz:,} visits, {n_users:,} visitors x {n_items} areas.")
    _paragraph(f"Source: {data.citation}")
    _paragraph(f"Licence: {data.license}")
    _heading("Kernels")
    simd = f"SIMD level {kernels.simd}, " if kernels.simd else ""
    _paragraph(f"Backend {kernels.name}, {simd}{threads} thread{'s' * (threads > 1)}.")
    if kernels.name == "numpy":
        _paragraph("These are the plain kernels, written to be read: training takes much longer than with the others.")


def _print_quality(baseline: RankingMetrics, model: RankingMetrics) -> None:
    _heading(f"Held-out visits found in {K} recommendations")
    print(f"  {'':<14}{'hit rate':>10}{f'NDCG@{K}':>10}")
    for name, metrics in (("Popularity", baseline), ("ImplicitALS", model)):
        print(f"  {name:<14}{metrics.hit_rate:>10.3f}{metrics.ndcg:>10.3f}")
    gains = (model.hit_rate / baseline.hit_rate - 1, model.ndcg / baseline.ndcg - 1)
    print(f"  {'improvement':<14}" + "".join(f"{gain:>+9.0%} " for gain in gains).rstrip())


def _print_visitor(
    user: int, titles: NDArray[np.str_], train: sparse.csr_array, test: sparse.csr_array, ids: NDArray[np.int32]
) -> None:
    """Print what one visitor visited, what was held out, and the recommendations, with the held-out one marked."""
    visited = train.indices[train.indptr[user] : train.indptr[user + 1]]
    held_out = test.indices[test.indptr[user]]
    found = held_out in ids
    print(f"  Visitor {user}")
    _field("visited", ", ".join(titles[visited]))
    _field("held out", f"{titles[held_out]}{'' if found else f' (not among the {K} recommended)'}")
    label = "recommended"
    for rank, item in enumerate(ids, start=1):
        mark = "*" if item == held_out else " "
        if rank <= SHOWN or mark == "*":
            _field(label, f"{rank:>2} {mark} {titles[item]}")
            label = ""


def _heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def _paragraph(text: str) -> None:
    # Links must not be broken, or they could not be clicked.
    print(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))


def _field(label: str, text: str) -> None:
    print(textwrap.fill(text, WIDTH, initial_indent=f"    {label:<13}", subsequent_indent=" " * 17))
