"""Records what the real Soroban host says of our contract: `make soroban-vectors`."""
