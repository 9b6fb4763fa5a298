"""The models of implicit that search by approximate indexes, here answered exactly."""
