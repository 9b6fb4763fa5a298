"""Kernels and whole fits under pytest-benchmark."""
