"""Other libraries on the same data, in turn, in one process."""
