"""A stand-in for the CPU side of the library implicit 0.7.3: ``import alternant.compat.implicit as implicit``.

The modules, classes, arguments and files are those of implicit; the work is done by the kernels of alternant. Where
implicit has a bug, this package does not: docs/moving/implicit.md lists the differences.
"""

from . import als, approximate_als, bpr, lmf, nearest_neighbours

__version__ = "0.7.3"

__all__ = ["als", "approximate_als", "bpr", "lmf", "nearest_neighbours", "__version__"]
