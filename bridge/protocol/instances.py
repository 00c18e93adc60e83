"""Interim names."""

from bridge.protocol.types import ChainId

ZION = ChainId("zion")
ETHEREUM = ChainId("ethereum")
SOLANA = ChainId("solana")
STELLAR = ChainId("stellar")
CARDANO = ChainId("cardano")
ALL = (ZION, ETHEREUM, SOLANA, STELLAR, CARDANO)
