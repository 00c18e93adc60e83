"""The HTLC contract as bytes: terms, lock ids, calldata, logs, storage slots and typed data to sign.

Pure: no network, no clock, no keys. The other side of every function here is
contracts/ethereum/RainbowHtlc.sol, and the tests run the two against each other.

Amounts are integers in the asset's smallest unit (wei), deadlines Unix seconds, addresses EIP-55 strings.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from eth_abi.abi import decode, encode
from eth_account.messages import encode_typed_data
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

_TERMS = "(address,address,address,uint256,bytes32,uint64,uint32)"
_TERMS_FIELDS = [
    {"name": "sender", "type": "address"},
    {"name": "recipient", "type": "address"},
    {"name": "token", "type": "address"},
    {"name": "amount", "type": "uint256"},
    {"name": "hashlock", "type": "bytes32"},
    {"name": "deadline", "type": "uint64"},
    {"name": "lane", "type": "uint32"},
]


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
            msgspec.structs.force_setattr(self, name, _address(name, getattr(self, name)))
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

    def _plain(self) -> tuple[str, str, str, int, bytes, int, int]:
        return (
            self.sender,
            self.recipient,
            self.token,
            self.amount,
            self.hashlock,
            self.deadline,
            self.lane,
        )


class Call(msgspec.Struct, frozen=True):
    """What a transaction to the HTLC carries: calldata, and wei to send along."""

    data: bytes
    value: int = 0


class Locked(msgspec.Struct, frozen=True):
    """A lock was made; `terms` is all of it, its id is `lock_id(chain_id, contract, terms)`."""

    terms: EvmLockTerms


class Claimed(msgspec.Struct, frozen=True):
    """A lock was paid to its recipient by showing `preimage` (0–64 bytes; public from here on)."""

    lock_id: bytes
    preimage: bytes


class Refunded(msgspec.Struct, frozen=True):
    """A lock was paid back to its sender, at its deadline or by agreement."""

    lock_id: bytes


HtlcLog = Locked | Claimed | Refunded


def _address(name: str, value: str) -> str:
    mistyped = is_checksum_formatted_address(value) and not is_checksum_address(value)
    if not is_hex_address(value) or mistyped:
        raise HtlcEncodingError(f"{name} {value!r} is not an address: 0x and 40 hex digits, checksum intact")
    return str(to_checksum_address(value))


def _selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]


def _call(name: str, types: Sequence[str], values: Sequence[Any], value: int = 0) -> Call:
    data = _selector(f"{name}({','.join(types)})") + encode(types, values)
    return Call(data=data, value=value)


# ---------------------------------------------------------------------- identity


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


# -------------------------------------------------------------------------- lock


def encode_lock(terms: EvmLockTerms) -> Call:
    """lockNative or lockERC20; the sender of the transaction must be `terms.sender`.

    A token needs an allowance of at least `amount` for the HTLC first (or use `encode_lock_with_permit`).
    """
    if terms.is_coin:
        return _call("lockNative", ["uint256", "bytes32"], [terms.payee, terms.hashlock], terms.amount)
    types = ["uint256", "bytes32", "address", "uint256"]
    return _call("lockERC20", types, [terms.payee, terms.hashlock, terms.token, terms.amount])


def encode_lock_batch(locks: Sequence[EvmLockTerms]) -> Call:
    """lockNativeBatch or lockERC20Batch: several locks of one sender and one asset in one transaction.

    All or none. Raises HtlcEncodingError for an empty batch or one of mixed senders or assets.
    """
    token = _common_token(locks)
    if len({terms.sender for terms in locks}) != 1:
        raise HtlcEncodingError("the locks of a batch have different senders: make one batch for each")
    items = [(terms.payee, terms.hashlock, terms.amount) for terms in locks]
    item = "(uint256,bytes32,uint256)[]"
    if token == COIN:
        return _call("lockNativeBatch", [item], [items], sum(terms.amount for terms in locks))
    return _call("lockERC20Batch", ["address", item], [token, items])


def encode_lock_with_permit(terms: EvmLockTerms, permit_deadline: int, signature: bytes) -> Call:
    """lockERC20WithPermit: allowance by EIP-2612 and lock at once, sent by `terms.sender`.

    `signature` is the sender's 65 bytes (r, s, v) over the token's own Permit typed data for the HTLC as
    spender and `amount` as value.
    """
    if terms.is_coin:
        raise HtlcEncodingError("the coin needs no permit: use encode_lock")
    r, s, v = _split(signature)
    types = ["uint256", "bytes32", "address", "uint256", "uint256", "uint8", "bytes32", "bytes32"]
    values = [terms.payee, terms.hashlock, terms.token, terms.amount, permit_deadline, v, r, s]
    return _call("lockERC20WithPermit", types, values)


def encode_lock_with_permit2(terms: EvmLockTerms, nonce: int, permit_deadline: int, signature: bytes) -> Call:
    """lockERC20WithPermit2: anyone may submit what `terms.sender` signed (`permit2_typed_data`).

    The sender needs an allowance for Permit2, once. Lane 0 only.
    """
    if terms.is_coin or terms.lane != 0:
        raise HtlcEncodingError("Permit2 locks are token locks in lane 0")
    types = [
        "uint256",
        "bytes32",
        "address",
        "uint256",
        "address",
        "uint256",
        "uint256",
        "bytes",
    ]
    values = [
        terms.payee,
        terms.hashlock,
        terms.token,
        terms.amount,
        terms.sender,
        nonce,
        permit_deadline,
        signature,
    ]
    return _call("lockERC20WithPermit2", types, values)


# ------------------------------------------------------------------------- claim


def encode_claim(terms: EvmLockTerms, preimage: bytes) -> Call:
    """claimNative or claimERC20 for the usual 32-byte preimage, claimBytes for any other of 0–64 bytes.

    Anyone may send it; it pays `terms.recipient`. It is cheapest from the recipient's own account.
    """
    _check_preimage(preimage)
    if len(preimage) != 32:
        return _call("claimBytes", ["bytes", _TERMS], [preimage, terms._plain()])
    if terms.is_coin:
        types = ["uint256", "bytes32", "bytes32"]
        return _call("claimNative", types, [terms.payee, preimage, terms.payer])
    types = ["uint256", "bytes32", "address", "uint256", "address"]
    values = [terms.payee, preimage, terms.token, terms.amount, terms.sender]
    return _call("claimERC20", types, values)


def encode_claim_batch(claims: Sequence[tuple[EvmLockTerms, bytes]]) -> Call:
    """claimNativeBatch or claimERC20Batch: several locks of one recipient and one asset, one payment.

    Preimages of 32 bytes only. Locks that are not open are left out by the contract (look for each one's
    Claimed log), so that nobody spoils the batch by claiming one first; it reverts when none is open.
    Raises HtlcEncodingError for an empty batch or one of mixed recipients or assets.
    """
    token = _common_token([terms for terms, _ in claims])
    if len({terms.recipient for terms, _ in claims}) != 1:
        raise HtlcEncodingError("the claims of a batch have different recipients: make one batch for each")
    if any(len(preimage) != 32 for _, preimage in claims):
        raise HtlcEncodingError("a batch takes preimages of 32 bytes: claim the others one by one")
    if token == COIN:
        items: list[Any] = [(terms.payee, preimage, terms.payer) for terms, preimage in claims]
        return _call("claimNativeBatch", ["(uint256,bytes32,bytes32)[]"], [items])
    items = [(terms.payee, preimage, terms.amount, terms.sender) for terms, preimage in claims]
    return _call("claimERC20Batch", ["address", "(uint256,bytes32,uint256,address)[]"], [token, items])


def encode_claim_for(
    terms: EvmLockTerms,
    preimage: bytes,
    *,
    fee: int,
    max_fee: int,
    nonce: int,
    expiry: int,
    signature: bytes,
) -> Call:
    """claimFor: the relayer that the recipient's signature names claims for it and keeps `fee`.

    `signature` is over `claim_for_typed_data` with the sender of the transaction as relayer. The recipient
    gets `amount - fee`; `fee` is at most `max_fee`.
    """
    _check_preimage(preimage)
    if not 0 <= fee <= min(max_fee, terms.amount):
        raise HtlcEncodingError(f"fee {fee} is not between 0 and what was signed ({max_fee}) and locked")
    types = ["bytes", _TERMS, "uint256", "uint256", "uint256", "uint256", "bytes"]
    return _call("claimFor", types, [preimage, terms._plain(), fee, max_fee, nonce, expiry, signature])


# ------------------------------------------------------------------------ refund


def encode_refund(terms: EvmLockTerms) -> Call:
    """refundNative or refundERC20: valid from the deadline on, from anyone, pays `terms.sender`."""
    if terms.is_coin:
        types = ["uint256", "bytes32", "bytes32"]
        return _call("refundNative", types, [terms.payee, terms.hashlock, terms.payer])
    types = ["uint256", "bytes32", "address", "uint256", "address"]
    values = [terms.payee, terms.hashlock, terms.token, terms.amount, terms.sender]
    return _call("refundERC20", types, values)


def encode_cooperative_refund(terms: EvmLockTerms, *, nonce: int, expiry: int, signature: bytes) -> Call:
    """cooperativeRefund: before the deadline, with the recipient's signature over its typed data."""
    types = [_TERMS, "uint256", "uint256", "bytes"]
    return _call("cooperativeRefund", types, [terms._plain(), nonce, expiry, signature])


def encode_cancel_nonces(word: int, mask: int) -> Call:
    """cancelNonces: the sender of the transaction withdraws its unused signatures.

    Those with nonces `word * 256 + bit`, for each bit that is set in `mask`.
    """
    return _call("cancelNonces", ["uint256", "uint256"], [word, mask])


# -------------------------------------------------------------------------- view


def encode_is_open(terms: EvmLockTerms) -> Call:
    """eth_call data of isOpen; the answer is one word, 1 or 0."""
    return _call("isOpen", [_TERMS], [terms._plain()])


def encode_used_nonces(signer: str, word: int) -> Call:
    """eth_call data of usedNonces; the answer is one word.

    Nonce n is bit `n & 255` of word `n >> 8`; it is used when set.
    """
    return _call("usedNonces", ["address", "uint256"], [signer, word])


def encode_is_valid_signature(digest: bytes, signature: bytes) -> bytes:
    """eth_call data of EIP-1271's isValidSignature, as the contract asks a smart wallet.

    The answer is one word that begins with the function's own selector, 0x1626ba7e, for yes.
    """
    return _call("isValidSignature", ["bytes32", "bytes"], [digest, signature]).data


# -------------------------------------------------------------------------- logs

TOPIC_LOCKED_COIN = keccak(b"Locked(bytes32,uint256,bytes32)")
TOPIC_LOCKED_TOKEN = keccak(b"LockedERC20(bytes32,uint256,address,address,uint256)")
TOPIC_CLAIMED = keccak(b"Claimed(bytes32,bytes32)")
TOPIC_CLAIMED_BYTES = keccak(b"ClaimedBytes(bytes32,bytes)")
TOPIC_REFUNDED = keccak(b"Refunded(bytes32)")

#: For eth_getLogs: `topics=[list(TOPICS)]`. Topic 1 is the hashlock of a Locked log, else the lock id.
TOPICS = (TOPIC_LOCKED_COIN, TOPIC_LOCKED_TOKEN, TOPIC_CLAIMED, TOPIC_CLAIMED_BYTES, TOPIC_REFUNDED)


def decode_log(log: Mapping[str, Any]) -> HtlcLog | None:
    """One log of the HTLC (`topics` and `data` as bytes or 0x-hex, as web3 and JSON-RPC give them).

    None for a log that is none of the three. The caller checks that the log's address is the HTLC.
    """
    topics = [_to_bytes(topic) for topic in log["topics"]]
    if len(topics) != 2 or topics[0] not in TOPICS:
        return None
    kind, key = topics
    data = _to_bytes(log["data"])
    if kind == TOPIC_REFUNDED:
        return Refunded(lock_id=key)
    if kind == TOPIC_CLAIMED:
        return Claimed(lock_id=key, preimage=data)
    if kind == TOPIC_CLAIMED_BYTES:
        (preimage,) = decode(["bytes"], data)
        return Claimed(lock_id=key, preimage=preimage)
    if kind == TOPIC_LOCKED_COIN:
        payee = int.from_bytes(data[:32], "big")
        payer = int.from_bytes(data[32:], "big")
        sender, token, amount = _address_of(payer), COIN, payer >> 160
    else:
        payee, sender, token, amount = decode(["uint256", "address", "address", "uint256"], data)
    return Locked(
        terms=EvmLockTerms(
            sender=sender,
            recipient=_address_of(payee),
            token=token,
            amount=amount,
            hashlock=key,
            deadline=payee >> 160 & MAX_DEADLINE,
            lane=payee >> 224,
        )
    )


def _address_of(word: int) -> str:
    return f"0x{word & (2**160 - 1):040x}"


def _to_bytes(value: bytes | str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else bytes(value)


# ------------------------------------------------------------------ what is signed

#: EIP-712 domain of the contract, see `eip712Domain()` (EIP-5267).
DOMAIN_NAME = "Rainbow HTLC"
DOMAIN_VERSION = "1"

PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"

_DOMAIN_FIELDS = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]


def claim_for_typed_data(
    chain_id: int,
    contract: str,
    terms: EvmLockTerms,
    *,
    relayer: str,
    max_fee: int,
    nonce: int,
    expiry: int,
) -> dict[str, Any]:
    """What the recipient signs (eth_signTypedData_v4) to let `relayer` claim for at most `max_fee`.

    `nonce` is any number the recipient has not used with this contract; until `expiry` (Unix seconds).
    """
    extra = [
        {"name": "relayer", "type": "address"},
        {"name": "maxFee", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
        {"name": "expiry", "type": "uint256"},
    ]
    values = {"relayer": _address("relayer", relayer), "maxFee": max_fee, "nonce": nonce, "expiry": expiry}
    return _typed_data(chain_id, contract, "ClaimFor", terms, extra=extra, values=values)


def cooperative_refund_typed_data(
    chain_id: int, contract: str, terms: EvmLockTerms, *, nonce: int, expiry: int
) -> dict[str, Any]:
    """What the recipient signs to let the lock go back to its sender before the deadline."""
    extra = [{"name": "nonce", "type": "uint256"}, {"name": "expiry", "type": "uint256"}]
    values = {"nonce": nonce, "expiry": expiry}
    return _typed_data(chain_id, contract, "CooperativeRefund", terms, extra=extra, values=values)


def permit2_typed_data(
    chain_id: int, contract: str, terms: EvmLockTerms, *, nonce: int, permit_deadline: int
) -> dict[str, Any]:
    """What `terms.sender` signs for `encode_lock_with_permit2`: a Permit2 transfer bound to this lock."""
    return {
        "types": {
            "EIP712Domain": [field for field in _DOMAIN_FIELDS if field["name"] != "version"],
            "PermitWitnessTransferFrom": [
                {"name": "permitted", "type": "TokenPermissions"},
                {"name": "spender", "type": "address"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
                {"name": "witness", "type": "LockWitness"},
            ],
            "TokenPermissions": [
                {"name": "token", "type": "address"},
                {"name": "amount", "type": "uint256"},
            ],
            "LockWitness": [
                {"name": "htlc", "type": "address"},
                {"name": "recipient", "type": "address"},
                {"name": "hashlock", "type": "bytes32"},
                {"name": "deadline", "type": "uint64"},
            ],
        },
        "primaryType": "PermitWitnessTransferFrom",
        "domain": {"name": "Permit2", "chainId": chain_id, "verifyingContract": PERMIT2},
        "message": {
            "permitted": {"token": terms.token, "amount": terms.amount},
            "spender": contract,
            "nonce": nonce,
            "deadline": permit_deadline,
            "witness": {
                "htlc": contract,
                "recipient": terms.recipient,
                "hashlock": terms.hashlock,
                "deadline": terms.deadline,
            },
        },
    }


def typed_data_digest(typed_data: Mapping[str, Any]) -> bytes:
    """The 32 bytes that are signed: keccak256(0x1901, domain, struct), EIP-712."""
    message = encode_typed_data(full_message=dict(typed_data))
    return keccak(b"\x19" + message.version + message.header + message.body)


def _typed_data(
    chain_id: int,
    contract: str,
    kind: str,
    terms: EvmLockTerms,
    *,
    extra: list[dict[str, str]],
    values: dict[str, Any],
) -> dict[str, Any]:
    return {
        "types": {"EIP712Domain": _DOMAIN_FIELDS, kind: _TERMS_FIELDS + extra},
        "primaryType": kind,
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": chain_id,
            "verifyingContract": _address("contract", contract),
        },
        "message": {
            **{field["name"]: getattr(terms, field["name"]) for field in _TERMS_FIELDS},
            **values,
        },
    }


def _common_token(locks: Sequence[EvmLockTerms]) -> str:
    tokens = {terms.token for terms in locks}
    if len(tokens) != 1:
        raise HtlcEncodingError("a batch is of one asset and at least one lock")
    return tokens.pop()


def _check_preimage(preimage: bytes) -> None:
    if len(preimage) > MAX_PREIMAGE:
        raise HtlcEncodingError(f"the preimage has {len(preimage)} bytes, at most {MAX_PREIMAGE} are allowed")


def _split(signature: bytes) -> tuple[bytes, bytes, int]:
    if len(signature) != 65:
        raise HtlcEncodingError(f"the signature has {len(signature)} bytes, r, s and v are 65")
    return signature[:32], signature[32:64], signature[64]
