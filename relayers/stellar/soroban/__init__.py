"""Stellar through its RPC and our Soroban contract."""
