"""The terms of a lock as the HTLC contract has them, and what follows from them: ids and storage slots. Pure.

Amounts are integers in the asset's smallest unit (wei), deadlines Unix seconds, addresses EIP-55 strings.
"""

from __future__ import annotations

from typing import Any

import msgspec
from eth_abi.abi import encode
from eth_hash.auto import keccak
from eth_utils.address import (
    is_checksum_address,
    is_checksum_formatted_address,
    is_hex_address,
    to_checksum_address,
)

from kernels.errors import RainbowError

#: The token address that means the chain's own coin (ETH).
COIN = "0x0000000000000000000000000000000000000000"

#: Preimage lengths that every chain of the bridge accepts (swap-protocol: 0–64 bytes).
MAX_PREIMAGE = 64

MAX_COIN_AMOUNT = 2**96 - 1
MAX_TOKEN_AMOUNT = 2**256 - 1
MAX_DEADLINE = 2**64 - 1
MAX_LANE = 2**32 - 1


class HtlcEncodingError(RainbowError, ValueError):
    """Terms or arguments that no lock can have; the message says which and what is allowed."""


class EvmLockTerms(msgspec.Struct, frozen=True):
    """All the terms of one lock; they are its identity.

    `token` is `COIN` for ETH. `lane` 0 is a lock in a slot of its own; a lane 1 … 2³²-1 is one of the
    sender's recycled slots, cheaper for those who lock often (`RainbowHtlc.sol` explains); it holds one lock
    at a time. Addresses are brought into EIP-55 form. Raises HtlcEncodingError.
    """

    sender: str
    recipient: str
    token: str
    amount: int
    hashlock: bytes
    deadline: int
    lane: int = 0

    def __post_init__(self) -> None:
        for name in ("sender", "recipient", "token"):
            msgspec.structs.force_setattr(self, name, checked_address(name, getattr(self, name)))
        if int(self.recipient, 16) == 0:
            raise HtlcEncodingError("recipient is the zero address: name the account that is to be paid")
        top = MAX_COIN_AMOUNT if self.is_coin else MAX_TOKEN_AMOUNT
        if not 0 < self.amount <= top:
            raise HtlcEncodingError(f"amount {self.amount} is not between 1 and {top} of the smallest unit")
        if len(self.hashlock) != 32:
            raise HtlcEncodingError(f"hashlock has {len(self.hashlock)} bytes, a SHA-256 has 32")
        if not 0 < self.deadline <= MAX_DEADLINE:
            raise HtlcEncodingError(f"deadline {self.deadline} is not Unix seconds in 64 bits")
        if not 0 <= self.lane <= MAX_LANE:
            raise HtlcEncodingError(f"lane {self.lane} is not between 0 and {MAX_LANE}")

    @property
    def is_coin(self) -> bool:
        """Whether the lock holds the chain's own coin and not a token."""
        return self.token == COIN

    @property
    def payee(self) -> int:
        """The contract's packed word: lane (32 bits) | deadline (64) | recipient (160)."""
        return self.lane << 224 | self.deadline << 160 | int(self.recipient, 16)

    @property
    def payer(self) -> bytes:
        """The contract's packed word for coin locks: amount (96 bits) | sender (160); 32 bytes."""
        return (self.amount << 160 | int(self.sender, 16)).to_bytes(32, "big")

    def plain(self) -> tuple[str, str, str, int, bytes, int, int]:
        """Return the values in the order of the contract's struct Terms."""
        return (
            self.sender,
            self.recipient,
            self.token,
            self.amount,
            self.hashlock,
            self.deadline,
            self.lane,
        )


def checked_address(name: str, value: str) -> str:
    """Return an address in EIP-55 form. Raises HtlcEncodingError, which calls it `name`."""
    mistyped = is_checksum_formatted_address(value) and not is_checksum_address(value)
    if not is_hex_address(value) or mistyped:
        raise HtlcEncodingError(f"{name} {value!r} is not an address: 0x and 40 hex digits, checksum intact")
    return str(to_checksum_address(value))


def lock_id(chain_id: int, contract: str, terms: EvmLockTerms) -> bytes:
    """The id (32 bytes) that the contract gives a lock with these terms.

    coin:   keccak256(abi.encode(chainId, contract, payee, hashlock, payer))
    ERC-20: keccak256(abi.encode(chainId, contract, payee, hashlock, token, amount, sender))
    """
    if terms.is_coin:
        types = ["uint256", "address", "uint256", "bytes32", "bytes32"]
        values: list[Any] = [chain_id, contract, terms.payee, terms.hashlock, terms.payer]
    else:
        types = ["uint256", "address", "uint256", "bytes32", "address", "uint256", "address"]
        values = [chain_id, contract, terms.payee, terms.hashlock, terms.token, terms.amount, terms.sender]
    return keccak(encode(types, values))


def storage_slot(chain_id: int, contract: str, terms: EvmLockTerms) -> bytes:
    """The storage slot (32 bytes) of a lock, for eth_getStorageAt, proofs and access lists."""
    if terms.lane == 0:
        return lock_id(chain_id, contract, terms)
    return lane_slot(terms.sender, terms.lane)


def lane_slot(sender: str, lane: int) -> bytes:
    """The storage slot of `sender`'s lane: keccak256(lane (32 bits) | 64 zero bits | sender (160))."""
    return keccak((lane << 224 | int(sender, 16)).to_bytes(32, "big"))


def slot_is_open(chain_id: int, contract: str, terms: EvmLockTerms, value: bytes) -> bool:
    """Whether `value`, read from `storage_slot`, says that exactly this lock is open."""
    stored = int.from_bytes(value, "big")
    if terms.lane == 0:
        return stored != 0
    return stored == int.from_bytes(lock_id(chain_id, contract, terms), "big")


def lane_is_free(value: bytes) -> bool:
    """Whether `value`, read from `lane_slot`, says that the lane can take a lock (0 never used, 1 used)."""
    return int.from_bytes(value, "big") <= 1
