"""A small chain of its own and the family that brings it to the bridge; see docs/adding-a-chain.md."""
