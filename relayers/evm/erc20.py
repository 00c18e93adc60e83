"""The calls of ERC-20 (EIP-20) that the bridge needs beside the HTLC's own."""

from __future__ import annotations

from eth_abi.abi import encode

MAX_ALLOWANCE = 2**256 - 1
"""Approved once. The HTLC has no owner and no upgrade, and pulls from nobody but its caller."""

ENOUGH_ALLOWANCE = 2**128
"""Below this an allowance is renewed: more than any supply, and all locks together do not use up the rest."""

DECIMALS = "0x313ce567"
"""The calldata of decimals()."""


def balance_of(owner: str) -> str:
    """Return the calldata of balanceOf(address)."""
    return "0x70a08231" + encode(["address"], [owner]).hex()


def allowance(owner: str, spender: str) -> str:
    """Return the calldata of allowance(address,address)."""
    return "0xdd62ed3e" + encode(["address", "address"], [owner, spender]).hex()


def approve(spender: str, amount: int) -> str:
    """Return the calldata of approve(address,uint256)."""
    return "0x095ea7b3" + encode(["address", "uint256"], [spender, amount]).hex()


def transfer(to: str, amount: int) -> str:
    """Return the calldata of transfer(address,uint256)."""
    return "0xa9059cbb" + encode(["address", "uint256"], [to, amount]).hex()
