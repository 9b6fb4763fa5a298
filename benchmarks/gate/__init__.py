"""The speed of a change compared with its base, as run by CI on pull requests."""
