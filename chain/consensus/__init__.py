"""Which blocks are accepted, and which branch is the main chain."""
