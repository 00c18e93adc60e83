"""Solana: the HTLC program in C, its adapter, and a local chain on the real virtual machine."""
