"""Where time and memory go, and what precision is reached."""
