"""The kernels: every hot loop of the library, on plain arrays.

Each family of kernels has four files: the contract (``als.py``, ``nnls.py``, ``topk.py``), whose functions check their
arguments and pass them to one backend, and the implementations in plain NumPy (``als_reference.py``), Numba
(``als_numba.py``) and Cython (``als_cython.pyx``), with the same names, arguments and defaults. The Cython module only
converts arguments; the loops are in C (``simd/als.c``), compiled once per SIMD level. `_registry` lists the kernels and
selects the backend.

Conventions: `X` is the solved side and `Y` the fixed side; ``m`` and ``n`` are their numbers of rows, and ``f`` is the
number of factors. Sparse input is CSR: `indptr` int64 ``(m + 1,)``, `indices` int32 or int64. Floating-point arrays of
a call are in C order and all float32 or all float64, unless documented otherwise (float16 copies of float32 rows,
float64 outputs). Inputs may be read-only; outputs are allocated by the caller unless they are returned. `num_threads`
is a number of threads, or None for all available to the process; results are bitwise identical for any value.
"""

from ._batches import Batches, Ranking
from ._grid import Cut, Factors, Grid, block_count, cut
from ._registry import active_backend, available_backends, backend_info, get_backend, set_backend, use_backend
from ._rounds import Adaptive, Popular, Rounds, Sides, Triples, tournament
from .als import normal_products, solve_rows, squared_error
from .contrastive import contrastive_epoch
from .dense import gramian, multiply, squared_norms
from .nnls import solve_rows_nonnegative
from .pairwise import draw_triples, pairwise_epoch
from .ranks import count_above, score_all
from .sgd import biased_epoch, cosine_epoch, logistic_epoch, sort_into_blocks
from .sparse import multiply_sparse, multiply_sparse_dense, top_k_sparse
from .topk import score_pairs, top_k

__all__ = [
    "Adaptive",
    "Batches",
    "Cut",
    "Factors",
    "Grid",
    "Popular",
    "Ranking",
    "Rounds",
    "Sides",
    "Triples",
    "active_backend",
    "available_backends",
    "backend_info",
    "biased_epoch",
    "block_count",
    "contrastive_epoch",
    "cosine_epoch",
    "count_above",
    "cut",
    "draw_triples",
    "get_backend",
    "gramian",
    "logistic_epoch",
    "multiply",
    "multiply_sparse",
    "multiply_sparse_dense",
    "normal_products",
    "pairwise_epoch",
    "score_all",
    "score_pairs",
    "set_backend",
    "solve_rows",
    "solve_rows_nonnegative",
    "sort_into_blocks",
    "squared_error",
    "squared_norms",
    "top_k",
    "top_k_sparse",
    "tournament",
    "use_backend",
]
