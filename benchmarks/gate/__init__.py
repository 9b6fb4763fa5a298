"""The speed of a change against that of its base: what CI runs on pull requests."""
