"""How fast and how sure Ethereum and a local EVM network are; `relayers.evm.profiles` has all networks."""

from __future__ import annotations

from relayers.evm.profiles import KNOWN

_ETHEREUM = KNOWN["main"][1]

MAINNET = _ETHEREUM.timing()
FINALITY_AT_BEST = _ETHEREUM.depth
"""Two epochs: no block is final sooner. Small amounts do with it."""

SMALL = {_ETHEREUM.native_symbol: _ETHEREUM.finalized_above}
"""By symbol, whole coins: what is small."""

DEVNET = KNOWN["dev"][31337].timing()
