"""The Anonymous Microsoft Web Data, which ship with the package."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import scipy

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

CITATION = (
    "Breese, J., Heckerman, D., Kadie, C. (1998). Anonymous Microsoft Web Data [Dataset]. UCI Machine Learning "
    "Repository. https://doi.org/10.24432/C5VS3Q. Introduced in: J. S. Breese, D. Heckerman, C. Kadie, "
    '"Empirical Analysis of Predictive Algorithms for Collaborative Filtering", UAI 1998.'
)
LICENSE = "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)"
DESCRIPTION = "The areas of microsoft.com that 32,710 anonymous visitors opened in one week of February 1998."


@dataclass(frozen=True, eq=False)
class MSWeb:
    """Visits to areas of microsoft.com, as returned by `load_msweb`.

    Attributes
    ----------
    interactions : scipy.sparse.csr_array of float32, shape (32710, 285)
        1 where a visitor (row) opened an area (column).
    item_titles : array of str, shape (285,)
        Titles of the areas, all different.
    citation : str
        How to cite the data.
    license : str
        Licence of the data, which requires attribution.
    description : str
        A one-sentence description.
    """

    interactions: csr_array[np.float32]
    item_titles: NDArray[np.str_]
    citation: str = field(default=CITATION, repr=False)
    license: str = field(default=LICENSE, repr=False)
    description: str = field(default=DESCRIPTION, repr=False)


def load_msweb() -> MSWeb:
    """Load the Anonymous Microsoft Web Data that ships with the package.

    98,653 visits of 32,710 visitors to 285 areas of microsoft.com, between 1 and 35 per visitor, 3 on average. Every
    call returns new arrays.

    Returns
    -------
    MSWeb

    References
    ----------
    J. S. Breese, D. Heckerman, C. Kadie, "Empirical Analysis of Predictive Algorithms for Collaborative Filtering",
    UAI 1998. Data: UCI Machine Learning Repository, https://doi.org/10.24432/C5VS3Q, CC BY 4.0.
    """
    # The package may be imported from a zip file, so that msweb.npz need not exist as a file.
    content = files(__package__).joinpath("data", "msweb.npz").read_bytes()
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        indptr, indices, titles = arrays["indptr"], arrays["indices"], arrays["item_titles"]
    ones = np.ones(len(indices), dtype=np.float32)
    interactions = scipy.sparse.csr_array((ones, indices, indptr), shape=(len(indptr) - 1, len(titles)))
    return MSWeb(interactions=interactions, item_titles=np.char.strip(titles))
