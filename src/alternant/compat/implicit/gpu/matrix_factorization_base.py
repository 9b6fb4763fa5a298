"""The class that libraries compare models with; no model is one."""


class MatrixFactorizationBase:
    """The base of implicit's models on a GPU."""
