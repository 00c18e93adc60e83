"""What the state keeps of an address."""

from __future__ import annotations

import msgspec


class Account(msgspec.Struct, frozen=True):
    """An account: balance in smallest units, next nonce, and its on-chain experience as a miner."""

    balance: int = 0
    nonce: int = 0
    blocks_mined: int = 0
    anchors_carried: int = 0
