"""Stellar: XLM and issued assets in hash time-locks of a Soroban contract, through Stellar RPC."""
