"""Shared by the commands: options, data, shapes, timing, and the writing and rendering of results."""
