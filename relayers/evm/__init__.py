"""The family of EVM networks (Ethereum, Base, Arbitrum …): adapter, profiles, HTLC encoding, local chain."""
