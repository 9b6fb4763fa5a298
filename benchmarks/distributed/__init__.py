"""Fits on a Dask cluster: their cost, a network in namespaces, and Spark on the same data."""
