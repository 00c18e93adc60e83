"""Names for what integers and bytes mean on this chain."""

from __future__ import annotations

from typing import NewType

BlockId = NewType("BlockId", bytes)
"""keccak256(header ‖ nonce), 32 bytes."""
TxId = NewType("TxId", bytes)
"""keccak256(body), 32 bytes."""
WtxId = NewType("WtxId", bytes)
"""sha256(txid ‖ witness), 32 bytes: names a transaction together with what authorises it."""
LockId = NewType("LockId", bytes)
"""The id of a lock, 32 bytes; see `chain.rules.records.lock_id`."""
KeyHash = NewType("KeyHash", bytes)
"""The last 20 bytes of keccak256(public key): what an address says."""

BlockHeight = NewType("BlockHeight", int)
"""Blocks between a block and genesis, which has height 0."""
UnixSeconds = NewType("UnixSeconds", int)
"""Seconds since 1970, without leap seconds."""
Amount = NewType("Amount", int)
"""Smallest units, 10⁻⁸ ZION."""
