"""Interactions larger than memory."""
