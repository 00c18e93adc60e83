"""Cardano behind `ChainPort`: a Plutus V3 HTLC, pycardano, Blockfrost or an own node, and a local ledger."""
