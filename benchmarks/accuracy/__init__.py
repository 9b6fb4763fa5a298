"""The quality of lists and predictions, and the search that chooses settings."""
