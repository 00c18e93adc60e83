"""A seeded in-memory chain for the simulator: the one fake part of the project."""
