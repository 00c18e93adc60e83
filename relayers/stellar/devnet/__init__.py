"""A local Stellar network: the ledger's rules of protocol 19 and a Horizon-compatible server over them."""
