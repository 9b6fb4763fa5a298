"""Features in the factorization: accuracy for users and items outside of training, and what they cost."""
