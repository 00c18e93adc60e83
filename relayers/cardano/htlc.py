"""Lock terms as outputs of the validator, and what transactions did to locks. Pure."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from pycardano import Address, Network, VerificationKeyHash
from pycardano.crypto.bech32 import encode as bech32_encode

from bridge.chains.errors import ActionRefusedError, BadAddressError
from bridge.chains.port import Claimed, HtlcEvent, Locked, SetAside
from bridge.chains.preimages import revealed
from bridge.protocol.types import HASHLOCK_BYTES, Amount, Asset, LockId, LockTerms, UnixSeconds
from bridge.protocol.types import Address as AddressText
from relayers.cardano.cbor_items import CborError, read_whole
from relayers.cardano.chain_view import HtlcTx, Output
from relayers.cardano.fates import fate
from relayers.cardano.plutus_data import byte_string, constructor, integer
from relayers.cardano.script import HtlcDatum, validator_hash
from relayers.cardano.settings import CardanoSettings

MIXED = "mixed"
"""The symbol of a lock with several native tokens: no swap asks for one, so it is only given back."""

_MAX_INT = 2**63 - 1
_KEY_HASH_BYTES = 28


def key_hash(address: str) -> bytes:
    """Return the payment key's hash of an address in canonical form."""
    part = Address.from_primitive(address).payment_part
    if not isinstance(part, VerificationKeyHash):
        raise ActionRefusedError(f"{address} is not the address of a key", "give the address of a wallet")
    return bytes(part.payload)


def canonical(key: bytes, network: Network) -> AddressText:
    """Return the canonical address of a key: the one without a stake part, which the validator pays."""
    return AddressText(str(Address(VerificationKeyHash(key), network=network).encode()))


def parse_address(text: str, network: Network) -> AddressText:
    """Return the canonical form of a wallet's address. Raises `BadAddressError`.

    An address with a stake part becomes the one without: both belong to the same payment key.
    """
    try:
        address = Address.from_primitive(text)
    except Exception as error:
        raise BadAddressError(
            "this is not a Cardano address", "copy the whole address again: addr…"
        ) from error
    if address.network is not network:
        raise BadAddressError("this address is of another Cardano network", "take one of the network in use")
    if not isinstance(address.payment_part, VerificationKeyHash):
        raise BadAddressError(
            "this address belongs to a script or has no payment key", "give a wallet's address"
        )
    return canonical(address.payment_part.payload, network)


def credential() -> str:
    """Return the validator as a payment credential, under which locks with any stake part are found."""
    return str(bech32_encode("script", list(validator_hash().payload)))


def key_credential(address: str) -> str:
    """Return an address' payment key as a payment credential, under which all its addresses are found."""
    return str(bech32_encode("addr_vkh", list(key_hash(address))))


@lru_cache(maxsize=10_000)
def is_ours(contract: str) -> bool:
    """Tell whether an address is the validator's, with whatever stake part."""
    try:
        return bool(Address.from_primitive(contract).payment_part == validator_hash())
    except Exception:
        return False


def datum_of(terms: LockTerms) -> HtlcDatum:
    """Return the datum of a lock."""
    sender, recipient = key_hash(terms.sender), key_hash(terms.recipient)
    return HtlcDatum(sender, recipient, terms.hashlock, terms.deadline * 1000)


def check(terms: LockTerms, settings: CardanoSettings) -> None:
    """Raise `ActionRefusedError` if no lock on this network can have these terms."""
    problem = ""
    if {terms.chain, terms.asset.chain} != {settings.chain}:
        problem = f"they are of {terms.chain} and {terms.asset.key}"
    elif not is_ours(terms.contract):
        problem = "its contract is not the HTLC's address"
    elif not 0 < terms.amount <= _MAX_INT:
        problem = "the amount must be positive smallest units"
    elif len(terms.hashlock) != HASHLOCK_BYTES:
        problem = "a hashlock has 32 bytes"
    elif not 0 < terms.deadline <= _MAX_INT // 1000:
        problem = "the deadline must be Unix seconds"
    if problem:
        raise ActionRefusedError(
            f"no lock on {settings.chain} can have these terms: {problem}", "correct the terms"
        )
    key_hash(terms.sender)
    key_hash(terms.recipient)


def id_of(terms: LockTerms, settings: CardanoSettings) -> LockId:
    """Return the id of a lock: SHA-256 over all its terms and the network. Raises `ActionRefusedError`."""
    check(terms, settings)
    parts = (
        b"rainbow bridge cardano htlc",
        settings.magic.to_bytes(4, "big"),
        bytes(Address.from_primitive(terms.contract).to_primitive()),
        key_hash(terms.sender),
        key_hash(terms.recipient),
        terms.asset.contract.encode(),
        terms.amount.to_bytes(8, "big"),
        terms.hashlock,
        terms.deadline.to_bytes(8, "big"),
    )
    return LockId(hashlib.sha256(b"".join(len(part).to_bytes(2, "big") + part for part in parts)).hexdigest())


class Reader:
    """Reads locks as terms, with the assets that have names here."""

    def __init__(self, settings: CardanoSettings) -> None:
        self._settings = settings
        self._network = settings.address_network
        self._assets = {asset.contract: asset for asset in settings.assets if asset.contract}

    def terms(self, output: Output) -> LockTerms | None:
        """Return the terms of an output of the validator; None if it is not a lock that counts.

        An output counts with an inline datum of the right form and nothing but its value. One that is odd in
        asset, amount or address has terms that say so, and so equal nobody's.
        """
        if output.inline_datum is None or output.has_script:
            return None
        if not is_ours(output.address):
            return None
        datum = _read_datum(output.inline_datum)
        if datum is None:
            return None
        tokens, chain = output.tokens, self._settings.chain
        if not tokens:
            asset, amount = self._settings.native, output.lovelace
        elif len(tokens) == 1:
            ((unit, amount),) = tokens.items()
            asset = self._assets.get(unit) or Asset(chain, unit[:8], 0, unit)
        else:
            asset, amount = Asset(chain, MIXED, 0, "+".join(sorted(tokens))), output.lovelace
        return LockTerms(
            chain=chain,
            contract=AddressText(output.address),
            sender=canonical(datum.sender, self._network),
            recipient=canonical(datum.recipient, self._network),
            asset=asset,
            amount=Amount(amount),
            hashlock=datum.hashlock,
            # A slot begins at a whole second: refundable from the first slot that is not before the deadline.
            deadline=UnixSeconds(-(-datum.deadline // 1000)),
        )

    def lock_id(self, output: Output) -> str | None:
        """Return the id of the lock in an output, None if there is none that counts."""
        terms = self.terms(output)
        return None if terms is None else id_of(terms, self._settings)

    def events(self, tx: HtlcTx) -> list[HtlcEvent]:
        """Return what a transaction did, spends first, and then what it shows that could open a lock."""
        found: list[HtlcEvent] = []
        known: set[bytes] = set()
        for spent in tx.spent:
            terms = self.terms(spent.output)
            known.add(bytes.fromhex(spent.output.tx_id))
            if terms is None:
                continue
            ended = fate(
                tx,
                id_of(terms, self._settings),
                terms,
                spent.redeemers,
                key_hash(terms.recipient),
                None if tx.start is None else UnixSeconds(self._settings.time_of(tx.start)),
            )
            if isinstance(ended, Claimed):
                known.add(ended.preimage.reveal())
            found.append(ended)
        for output in tx.made:
            made = self.terms(output)
            if made is not None:
                known |= {key_hash(made.sender), key_hash(made.recipient), made.hashlock}
                found.append(Locked(tx.block, tx.tx_id, id_of(made, self._settings), made))
        # What stands in these events, or names a spent output as every payment does, is not said again.
        found += revealed(tx.block, tx.tx_id, (shown for shown in tx.shown if shown not in known))
        return found

    def set_aside(self, tx: HtlcTx) -> list[SetAside]:
        """Return what of a transaction could not be read."""
        if not tx.unreadable:
            return []
        ids = [self.lock_id(spent.output) for spent in tx.spent]
        named = tuple(LockId(lock_id) for lock_id in ids if lock_id is not None)
        return [SetAside(tx.block, tx.tx_id, tx.unreadable, named)]


def _read_datum(inline: str) -> HtlcDatum | None:
    """Return a lock's terms from its datum (CBOR, hex), in any encoding; None if it is not a lock's."""
    try:
        found = constructor(read_whole(bytes.fromhex(inline)))
    except (ValueError, CborError):
        return None
    if found is None or found[0] != HtlcDatum.CONSTR_ID or len(found[1]) != 4:
        return None
    fields = found[1]
    sender, recipient, hashlock = (byte_string(field) for field in fields[:3])
    deadline = integer(fields[3])
    if sender is None or recipient is None or hashlock is None or deadline is None:
        return None
    if (len(sender), len(recipient), len(hashlock)) != (_KEY_HASH_BYTES, _KEY_HASH_BYTES, HASHLOCK_BYTES):
        return None
    if not 0 < deadline <= _MAX_INT:
        return None
    return HtlcDatum(sender, recipient, hashlock, deadline)
