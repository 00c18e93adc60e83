"""The ZION chain: consensus, state, mempool, RPC, mining and wallet."""
