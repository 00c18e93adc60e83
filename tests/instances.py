"""The chains' names in tests: those that `rainbow init` gives one instance of each family."""

from bridge.protocol.types import ChainId

ZION = ChainId("zion")
ETHEREUM = ChainId("ethereum")
SOLANA = ChainId("solana")
STELLAR = ChainId("stellar")
CARDANO = ChainId("cardano")
ALL = (ZION, ETHEREUM, SOLANA, STELLAR, CARDANO)
