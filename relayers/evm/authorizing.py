"""Claims for a recipient without ether: what it signs (EIP-712), and whether what came back is good.

The recipient lets one relayer claim one lock and keep at most a stated fee of it. Nothing else can be done
with the signature: it names chain, contract, all terms of the lock, the relayer, the most it may keep, a
nonce that is good once and an expiry; the rest of the amount goes to the recipient whatever happens.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils.address import is_hex_address, to_checksum_address

from bridge.chains.errors import ActionRefusedError, BadAuthorizationError
from bridge.chains.port import UnsignedTx
from bridge.protocol.types import Amount, LockTerms
from relayers.evm import blocks, htlc
from relayers.evm.messages import Authorization, HtlcContract
from relayers.evm.rpc import Call, Rpc, RpcError, quantity, sound

FORMAT = "eip712"
"""Signs the payload, the argument of eth_signTypedData_v4. Numbers of more than 53 bits are decimal text,
since readers of JSON would round them."""

EXPIRY_MARGIN = 86_400
"""Seconds beyond the lock's deadline for which a signature is good: a claim wins until the refund has
happened, and a sender that is down may refund late."""

MAX_SIGNATURE = 2_048
"""Bytes: a key's has 65, a passkey's or a multi-signature wallet's some hundreds; a byte costs 16 gas."""

_WORD = 256
"""Nonces that share a storage slot."""

_WORDS = 4
"""Slots of nonces that are looked at for a free one before a slot of its own is taken."""

_CROWDED = 128
"""A slot with this many used nonces is left: requests that wait at the same time should not draw the same."""

_MAGIC = "0x1626ba7e"
"""What EIP-1271's isValidSignature(bytes32,bytes) answers for a good signature; also its selector."""

_HALF_N = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Half the order of secp256k1: the contract takes the lower of the two equal signatures alone."""

_MAX_WORD = 2**256 - 1
_NUMBERS = ("maxFee", "nonce", "expiry")


class EvmAuthorizer:
    """A `bridge.chains.port.Authorizer` for one contract.

    `relayer` is who may claim and keep the fee, "" for the lock's own sender: the bridge's account, which a
    process without its key knows from the terms.
    """

    required = False

    def __init__(
        self,
        rpc: Rpc,
        contract: HtlcContract,
        signer: LocalAccount,
        relayer: str,
    ) -> None:
        self._rpc = rpc
        self._contract = contract
        self._signer = signer
        self._relayer = relayer

    async def request(self, terms: LockTerms, max_fee: Amount) -> UnsignedTx:
        """See `Authorizer.request`. Raises `ActionRefusedError` for a fee that would leave nothing."""
        if not 0 <= max_fee < terms.amount:
            raise ActionRefusedError(
                f"a fee of {max_fee} would leave nothing of {terms.amount}",
                "let the recipient claim with its own wallet, or lock more",
            )
        relayer = self._relayer or terms.sender
        wanted = Authorization(
            relayer=relayer,
            max_fee=max_fee,
            nonce=await self._free_nonce(terms.recipient, relayer),
            expiry=terms.deadline + EXPIRY_MARGIN,
        )
        what = f"{terms.amount} × 10^-{terms.asset.decimals} {terms.asset.symbol}"
        return UnsignedTx(
            FORMAT,
            f"let {relayer} claim {what} for {terms.recipient} and keep at most {max_fee} of it",
            _portable(self._contract.claim_for_typed_data(terms, wanted)),
        )

    async def sign(self, terms: LockTerms, request: UnsignedTx, max_fee: Amount) -> dict[str, str]:
        """See `Authorizer.sign`. All that is signed is made again from our own terms; the request
        gives relayer, fee, nonce and expiry alone, and must agree in everything else."""
        if request.format != FORMAT:
            raise BadAuthorizationError(
                f"a request of format {request.format!r} cannot be signed here",
                f"ask for a request of format {FORMAT!r}",
            )
        if terms.recipient != str(self._signer.address):
            raise BadAuthorizationError(
                f"the lock pays {terms.recipient}, not {self._signer.address}",
                "sign with the recipient's key",
            )
        message = request.payload.get("message")
        if not isinstance(message, Mapping):
            raise BadAuthorizationError("the request has no message to sign", "ask for another request")
        asked = _read(message)
        expected = _portable(self._contract.claim_for_typed_data(terms, asked))
        if difference := _difference(expected, request.payload):
            raise BadAuthorizationError(
                f"the request does not fit the lock: {difference}", "sign nothing; ask the bridge"
            )
        if asked.max_fee > max_fee:
            raise BadAuthorizationError(
                f"the request lets the relayer keep {asked.max_fee}, more than {max_fee}",
                "sign nothing; ask for a lower fee or claim with your own wallet",
            )
        if asked.expiry > terms.deadline + EXPIRY_MARGIN:
            raise BadAuthorizationError(
                "the request would be valid for too long", "sign nothing; ask for another"
            )
        signature = bytes(self._signer.sign_typed_data(full_message=expected).signature)
        return _fields(msgspec.structs.replace(asked, signature=signature))

    async def check(self, terms: LockTerms, signed: Mapping[str, str], min_fee: Amount = Amount(0)) -> bytes:
        """See `Authorizer.check`. `signed` is what `sign` returns: the wallet's signature ("0x…") and, from
        the message it signed, relayer, maxFee, nonce and expiry."""
        given = _normal(_read(signed, signed=True))
        if len(given.signature) > MAX_SIGNATURE:
            raise BadAuthorizationError(
                f"the signature has {len(given.signature)} bytes, more than {MAX_SIGNATURE}", "sign otherwise"
            )
        relayer = self._relayer or terms.sender
        if given.relayer != relayer:
            raise BadAuthorizationError(
                f"it names {given.relayer} as relayer, not {relayer}", "sign it again"
            )
        if given.max_fee < min_fee:
            raise BadAuthorizationError(
                f"it allows a fee of {given.max_fee}, and the claim costs {min_fee}",
                "ask for another request and sign that",
            )
        if given.max_fee >= terms.amount:
            raise BadAuthorizationError(f"a fee of {given.max_fee} would leave nothing", "sign a lower fee")
        if given.expiry < terms.deadline:
            raise BadAuthorizationError(
                "it expires before the lock's deadline", "sign the request as it was given"
            )
        await self._check_on_chain(terms, given)
        return encode(given)

    async def _check_on_chain(self, terms: LockTerms, given: Authorization) -> None:
        typed = self._contract.claim_for_typed_data(terms, given)
        nonces = self._contract.used_nonces(terms.recipient, given.nonce // _WORD)
        wallet = _is_valid_signature(htlc.typed_data_digest(typed), given.signature)
        head, used, answer = await self._rpc.batch(
            [
                blocks.header_call("latest"),
                Call("eth_call", ({"to": nonces.to, "data": nonces.data}, "latest")),
                Call("eth_call", ({"to": terms.recipient, "data": wallet}, "latest")),
            ]
        )
        if given.expiry <= blocks.read_header(sound(head)).ref.time:
            raise BadAuthorizationError("it has expired", "ask for another request and sign that")
        if quantity(sound(used)) >> given.nonce % _WORD & 1:
            raise BadAuthorizationError(
                "its nonce has been used or withdrawn", "ask for another request and sign that"
            )
        signer = _signer_of(typed, given.signature)
        if signer != terms.recipient and not _is_magic(answer):
            raise BadAuthorizationError(
                f"it was not signed by {terms.recipient}" + (f" but by {signer}" if signer else ""),
                "sign with the account that the swap pays to, on the network of the lock",
            )

    async def _free_nonce(self, recipient: str, relayer: str) -> int:
        """Return a nonce that the recipient has not used, at random.

        The first nonce of a slot costs 17,100 gas more than the next 255, so they are drawn from few slots,
        the relayer's alone (their numbers begin with its address).
        """
        words = [int(relayer, 16) << 64 | index for index in range(_WORDS)]
        calls = [
            Call("eth_call", ({"to": message.to, "data": message.data}, "latest"))
            for message in (self._contract.used_nonces(recipient, word) for word in words)
        ]
        for word, result in zip(words, await self._rpc.batch(calls), strict=True):
            used = quantity(sound(result))
            if used.bit_count() < _CROWDED:
                free = [bit for bit in range(_WORD) if not used >> bit & 1]
                return word * _WORD + secrets.choice(free)
        return secrets.randbits(256)


def encode(authorization: Authorization) -> bytes:
    """Return an authorisation as it is stored: JSON with sorted keys."""
    return msgspec.json.encode(_fields(authorization), order="deterministic")


def decode(stored: bytes) -> Authorization:
    """Return what `encode` stored, for its `max_fee` and the claim. Raises `BadAuthorizationError`."""
    try:
        fields = msgspec.json.decode(stored, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadAuthorizationError(
            "this is not a stored authorisation", "let the recipient sign again"
        ) from error
    return _read(fields, signed=True)


def _fields(authorization: Authorization) -> dict[str, str]:
    return {
        "relayer": authorization.relayer,
        "maxFee": str(authorization.max_fee),
        "nonce": str(authorization.nonce),
        "expiry": str(authorization.expiry),
        "signature": "0x" + authorization.signature.hex(),
    }


def _read(fields: Mapping[str, Any], *, signed: bool = False) -> Authorization:
    relayer, signature = fields.get("relayer"), fields.get("signature", "") if signed else "0x"
    if not isinstance(relayer, str) or not is_hex_address(relayer):
        raise BadAuthorizationError("relayer is missing or no address", "give the fields of the request")
    if not isinstance(signature, str) or not signature.startswith("0x"):
        raise BadAuthorizationError("signature is missing or not 0x…", "give what the wallet answered")
    try:
        raw = bytes.fromhex(signature[2:])
    except ValueError:
        raise BadAuthorizationError("signature is not hexadecimal", "give what the wallet answered") from None
    max_fee, nonce, expiry = (_number(fields, name) for name in _NUMBERS)
    return Authorization(str(to_checksum_address(relayer)), Amount(max_fee), nonce, expiry, raw)


def _number(fields: Mapping[str, Any], name: str) -> int:
    text = str(fields.get(name, ""))
    if not text.isdecimal() or not text.isascii() or len(text) > 78 or int(text) > _MAX_WORD:
        raise BadAuthorizationError(f"{name} is missing or no number", "give the fields of the request")
    return int(text)


def _normal(authorization: Authorization) -> Authorization:
    """Some hardware wallets end a signature with 0 or 1 where the EVM wants 27 or 28."""
    raw = authorization.signature
    if len(raw) == 65 and raw[64] in (0, 1):
        return msgspec.structs.replace(authorization, signature=raw[:64] + bytes([raw[64] + 27]))
    return authorization


def _signer_of(typed: dict[str, Any], signature: bytes) -> str:
    """Return the address whose key made a signature that the contract takes, "" if it is none."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        return ""
    if int.from_bytes(signature[32:64], "big") > _HALF_N:
        return ""
    try:
        return str(Account.recover_message(encode_typed_data(full_message=typed), signature=signature))
    except Exception:  # eth-keys and its backends raise what they like for points off the curve
        return ""


def _is_valid_signature(digest: bytes, signature: bytes) -> str:
    return "0x" + htlc.encode_is_valid_signature(digest, signature).hex()


def _is_magic(answer: Any) -> bool:
    """As the contract reads it: at least one whole word, the magic value and zeros."""
    if isinstance(answer, RpcError) or not isinstance(answer, str):
        return False
    return answer[:66].lower() == _MAGIC + "0" * 56


def _portable(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return typed data as JSON can carry it: bytes in hexadecimal, the message's numbers in decimal text."""

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return "0x" + value.hex()
        return str(value) if isinstance(value, int) else value

    return {**typed, "message": {name: plain(value) for name, value in typed["message"].items()}}


def _difference(expected: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Say where a request differs from what it should be, "" if nowhere."""
    for part in ("domain", "message"):
        theirs = given.get(part)
        ours = expected[part]
        if not isinstance(theirs, Mapping) or set(theirs) != set(ours):
            return f"its {part} has other fields"
        for name, value in ours.items():
            if theirs[name] != value:
                return f"{name} is {str(theirs[name])[:80]}, not {value}"
    return "" if expected == given else "it is not a ClaimFor of this contract"
