"""Proofs of what the bridge did: the transparency log of swap receipts and its anchors on ZION."""
