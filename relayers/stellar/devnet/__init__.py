"""A local Stellar network: the ledger's rules, classic and Soroban, behind a Stellar RPC server."""
