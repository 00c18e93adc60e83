"""Cardano behind `ChainPort`: a Plutus V3 HTLC, pycardano, Blockfrost, and a local ledger."""
