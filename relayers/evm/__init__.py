"""Ethereum: adapter, HTLC encoding and local chain."""
