"""The benchmarks of alternant: ``python -m benchmarks`` from the root of a checkout lists the commands."""
