"""Where time and memory go, and how far precision carries."""
