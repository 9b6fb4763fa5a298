"""Fits on several machines, with Dask: ``pip install "alternant[dask]"``.

`fit` gives a model the factors of interactions that are divided over the workers of a Dask cluster. The results depend
on the interactions and the number of shards: not on the number of workers, of threads, or on timing.
"""

try:
    import distributed as _distributed  # noqa: F401
except ImportError as _error:
    raise ImportError(
        'alternant.distributed needs dask.distributed, which is not installed: pip install "alternant[dask]"'
    ) from _error

from ._cluster import SchedulerLostError, WorkersLostError
from ._fit import fit, fit_to_parquet
from ._parquet import Parquet

__all__ = ["Parquet", "SchedulerLostError", "WorkersLostError", "fit", "fit_to_parquet"]
