"""The models that run on the CPU, which are all of them."""
