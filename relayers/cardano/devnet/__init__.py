"""A local Cardano: the scalus ledger behind a Blockfrost-compatible server."""

from relayers.cardano.devnet.local import CardanoDevnet

__all__ = ["CardanoDevnet"]
