"""Utilities shared by all other subpackages, independent of them: threads, memory, files, argument checks."""
