"""Weights of interactions by the statistics of text retrieval: TF-IDF and BM25."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._utils.validation import check_number
from .dense import as_sparse
from .validation import check_interactions

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from .._typing import Dense, Sparse


def tfidf_weight(X: Dense | Sparse) -> csr_array:
    r"""Weight a matrix of documents and terms by TF-IDF.

    .. math:: w_{ij} = \sqrt{x_{ij}} \, \log \frac{n}{1 + n_j}

    with n the number of rows and :math:`n_j` the number of entries in column j. For items x users, users with many
    interactions weigh less. The formula is that of implicit, where the weight of a column with an entry in every row is
    slightly negative.

    Parameters
    ----------
    X : sparse matrix or array, or dense array, shape (n, m)
        Counts, 0 or more.

    Returns
    -------
    csr_array, shape (n, m)
        In float64, with the entries of `X`.

    Raises
    ------
    TypeError, ValueError
        If `X` is no matrix of finite numbers of at least 0.
    """
    rows = _counts(X)
    rows.data = np.sqrt(rows.data) * _inverse_frequency(rows)
    return rows


def bm25_weight(X: Dense | Sparse, K1: float = 100, B: float = 0.8) -> csr_array:
    r"""Weight a matrix of documents and terms by BM25.

    .. math:: w_{ij} = \frac{(K_1 + 1) x_{ij}}{K_1 (1 - B + B l_i / \bar l) + x_{ij}} \, \log \frac{n}{1 + n_j}

    with n the number of rows, :math:`n_j` the number of entries in column j, :math:`l_i` the sum of row i and
    :math:`\bar l` the mean of these sums. Large counts saturate, and rows with large sums weigh less.

    Parameters
    ----------
    X : sparse matrix or array, or dense array, shape (n, m)
        Counts, 0 or more. With items as rows, popular items weigh less; users with many interactions do, too.
    K1 : float
        Scale at which counts saturate: with 0, only whether there is a count matters.
    B : float
        How much the sum of a row matters, from 0 to 1.

    Returns
    -------
    csr_array, shape (n, m)
        In float64, with the entries of `X`.

    Raises
    ------
    TypeError, ValueError
        If `X` is no matrix of finite numbers of at least 0, or a parameter is out of range.

    References
    ----------
    S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", Foundations and Trends in
    Information Retrieval 3(4), 2009.
    """
    K1, B = check_number("K1", K1, 0), check_number("B", B, 0)
    if B > 1:
        raise ValueError(f"B must be at most 1, got {B:g}")
    rows = _counts(X)
    owner = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    lengths = np.bincount(owner, rows.data, rows.shape[0])
    mean = lengths.mean() if lengths.any() else 1.0
    damping = K1 * (1 - B + B * lengths[owner] / mean)
    rows.data = rows.data * (K1 + 1) / (damping + rows.data) * _inverse_frequency(rows)
    return rows


def _counts(X: Any) -> csr_array:
    """Return a matrix as a new CSR array of positive float64 entries without duplicates."""
    rows = check_interactions("X", as_sparse("X", X), np.dtype(np.float64), copy=True).to_scipy()
    if (rows.data < 0).any():
        raise ValueError(f"X must hold counts of at least 0, got {rows.data.min():g}")
    return rows


def _inverse_frequency(rows: csr_array) -> NDArray[np.float64]:
    """Return ``log(n / (1 + entries of the column))`` for each entry."""
    counts = np.bincount(rows.indices, minlength=rows.shape[1])
    frequency: NDArray[np.float64] = (np.log(max(1, rows.shape[0])) - np.log1p(counts))[rows.indices]
    return frequency
