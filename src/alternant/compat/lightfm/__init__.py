"""A stand-in for the library LightFM 1.17: ``import alternant.compat.lightfm as lightfm``.

The modules, classes and arguments are those of LightFM; the work is done by the kernels of alternant.
docs/moving/lightfm.md lists the differences.
"""

from . import cross_validation, data, datasets, evaluation
from .lightfm import LightFM

__version__ = "1.17"

__all__ = ["LightFM", "cross_validation", "data", "datasets", "evaluation", "__version__"]
