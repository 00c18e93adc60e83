"""Who authorised what: the trees of `SorobanAuthorizationEntry` against the calls that happen.

After soroban-env-host 27, auth.rs. Simulation records the trees that would be needed. A ledger enforces the
given ones: each node is used once, in its place in the tree, after the signature over the whole tree was
checked and its nonce used up. Credentials: the transaction's source account, ADDRESS, and ADDRESS_V2
(CAP-71: the signature also binds the address). Delegated signers (CAP-71-01) are not emulated.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stellar_sdk import Address, Keypair, scval, xdr

from relayers.stellar.devnet.entries import UnsupportedFeatureError
from relayers.stellar.devnet.signatures import MAX_WEIGHT
from relayers.stellar.devnet.soroban.errors import Code, HostError, Type, contract_error
from relayers.stellar.devnet.soroban.ledger_xdr import Durability, contract_address, data_key, weight_of
from relayers.stellar.devnet.soroban.storage import Storage

if TYPE_CHECKING:
    from relayers.stellar.devnet.soroban.host import Host

Credentials = xdr.SorobanCredentialsType
FunctionType = xdr.SorobanAuthorizedFunctionType
ROOT = -1
"""In a match stack: matched by the tree's root; a number ≥ 0 names a child of the last match."""
MAX_ACCOUNT_SIGNATURES = 20
AUTHENTICATION_ERROR = 5
"""Error of the built-in account contract (contract_error.rs)."""


def raw_function(function: xdr.SorobanAuthorizedFunction) -> bytes:
    """Return what is compared of an authorised function; the two ways to create a contract are one."""
    old = function.create_contract_host_fn
    if old is not None:
        new = xdr.CreateContractArgsV2(old.contract_id_preimage, old.executable, [])
        kind = FunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CREATE_CONTRACT_V2_HOST_FN
        function = xdr.SorobanAuthorizedFunction(kind, create_contract_v2_host_fn=new)
    return function.to_xdr_bytes()


@dataclass
class Node:
    """One authorised call and those below it."""

    function: xdr.SorobanAuthorizedFunction
    children: list[Node] = field(default_factory=list)
    used: bool = False

    @classmethod
    def from_xdr(cls, invocation: xdr.SorobanAuthorizedInvocation) -> Node:
        """Read a tree."""
        return cls(invocation.function, [cls.from_xdr(each) for each in invocation.sub_invocations])

    def to_xdr(self) -> xdr.SorobanAuthorizedInvocation:
        """Return the tree as XDR."""
        return xdr.SorobanAuthorizedInvocation(self.function, [each.to_xdr() for each in self.children])


@dataclass
class Tree:
    """One tree and how far the running calls have matched it."""

    root: Node
    stack: list[int | None] = field(default_factory=list)
    """For each running call: what of the tree it was matched by."""
    root_frame: int | None = None
    finished: bool = False

    @property
    def is_active(self) -> bool:
        """Tell whether the call that used the root is still running."""
        return self.root.used and not self.finished

    @property
    def frame_is_matched(self) -> bool:
        """Tell whether the newest call was matched already."""
        return bool(self.stack) and self.stack[-1] is not None

    @property
    def is_matched(self) -> bool:
        """Tell whether any running call was matched."""
        return any(each is not None for each in self.stack)

    def push(self) -> None:
        """A call begins."""
        self.stack.append(None)

    def pop(self) -> None:
        """A call ends."""
        self.stack.pop()
        if self.root_frame is not None and self.root_frame >= len(self.stack):
            self.finished = True

    def last_node(self) -> Node | None:
        """Return the node of the newest call that was matched."""
        node: Node | None = None
        for match in self.stack:
            if match == ROOT:
                node = self.root
            elif match is not None and node is not None:
                node = node.children[match]
        return node

    def match(self, wanted: bytes, allow_root: bool) -> bool:
        """Use the node for this call, if the tree has an unused one in this place."""
        if self.frame_is_matched:
            return False
        node = self.last_node()
        if node is not None:
            for index, child in enumerate(node.children):
                if not child.used and raw_function(child.function) == wanted:
                    child.used = True
                    self.stack[-1] = index
                    return True
            return False
        if self.root.used or not allow_root or raw_function(self.root.function) != wanted:
            return False
        self.root.used = True
        self.root_frame = len(self.stack) - 1
        self.stack[-1] = ROOT
        return True

    def record(self, function: xdr.SorobanAuthorizedFunction) -> None:
        """Add a node below the newest match."""
        if self.frame_is_matched:
            raise HostError(Type.SCE_AUTH, Code.SCEC_EXISTING_VALUE, "frame is already authorized")
        node = self.last_node()
        assert node is not None  # noqa: S101 - only trees with a match in the stack are recorded to
        node.children.append(Node(function, used=True))
        self.stack[-1] = len(node.children) - 1


@dataclass
class Tracker:
    """One authorization entry at work. `nonce` is None for the transaction's source account."""

    address: str
    tree: Tree
    credentials: xdr.SorobanCredentialsType
    signature: xdr.SCVal
    nonce: int | None
    expiration: int
    verified: bool = False
    busy: bool = False
    """While its own signature is being checked it authorises nothing."""


class Authorizations:
    """All authorizations of one transaction. `entries` None records what is needed."""

    def __init__(
        self, host: Host, entries: list[xdr.SorobanAuthorizationEntry] | None, new_nonce: Callable[[], int]
    ) -> None:
        self._host = host
        self.recording = entries is None
        self.root_only = False
        """While recording: refuse what is not authorised in the outermost call."""
        self._new_nonce = new_nonce
        self._trackers = [self._tracker(each) for each in entries or []]

    def _tracker(self, entry: xdr.SorobanAuthorizationEntry) -> Tracker:
        tree = Tree(Node.from_xdr(entry.root_invocation))
        kind = entry.credentials.type
        if kind is Credentials.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT:
            return Tracker(self._host.source, tree, kind, scval.to_void(), None, 0)
        given = entry.credentials.address or entry.credentials.address_v2
        if given is None:
            raise UnsupportedFeatureError("delegated signers are not emulated")
        return Tracker(
            Address.from_xdr_sc_address(given.address).address,
            tree,
            kind,
            given.signature,
            given.nonce.int64,
            given.signature_expiration_ledger.uint32,
        )

    def push_frame(self) -> None:
        """A call begins."""
        for each in self._trackers:
            each.tree.push()

    def pop_frame(self) -> None:
        """A call ends."""
        for each in self._trackers:
            each.tree.pop()

    def snapshot(self) -> list[Tracker]:
        """Return what was used so far, for `restore`."""
        return copy.deepcopy(self._trackers)

    def restore(self, snapshot: list[Tracker]) -> None:
        """Forget what a call has used that did not take effect."""
        self._trackers = snapshot

    def require(self, address: str, function: xdr.SorobanAuthorizedFunction) -> None:
        """Check (or record) that an address authorised the call. Raises `HostError`."""
        if self._host.invoker == address:
            return  # a contract authorises the calls that it makes itself
        if self.recording:
            self._record(address, function)
        else:
            self._enforce(address, function)

    def _enforce(self, address: str, function: xdr.SorobanAuthorizedFunction) -> None:
        own = [each for each in self._trackers if each.address == address and not each.busy]
        # What is under way must go on in the same tree: sets of disjoint trees cannot cover a tree of calls.
        active = any(each.tree.is_active and not each.tree.frame_is_matched for each in own)
        wanted = raw_function(function)
        for tracker in own:
            if not tracker.tree.match(wanted, allow_root=not active):
                continue
            if not tracker.verified:
                self._verify(tracker)
            return
        raise HostError(Type.SCE_AUTH, Code.SCEC_INVALID_ACTION, f"{address} did not authorise this call")

    def _verify(self, tracker: Tracker) -> None:
        if tracker.nonce is not None:
            tracker.busy = True
            try:
                self._authenticate(tracker)
            except HostError as error:
                if not error.is_recoverable:
                    raise
                raise HostError(Type.SCE_AUTH, Code.SCEC_INVALID_ACTION, str(error)) from error
            finally:
                tracker.busy = False
            self._use_nonce(tracker)
        tracker.verified = True

    def _authenticate(self, tracker: Tracker) -> None:
        payload = signature_payload(self._host.network_id, tracker)
        if tracker.address.startswith("C"):
            self._host.check_contract_account(tracker.address, payload, tracker.signature, tracker.tree.root)
        else:
            self._host.budget.charge("verify_ed25519")
            check_account_signatures(self._host.storage, tracker.address, payload, tracker.signature)

    def _use_nonce(self, tracker: Tracker) -> None:
        storage = self._host.storage
        if storage.sequence > tracker.expiration:
            raise HostError(Type.SCE_AUTH, Code.SCEC_INVALID_INPUT, "signature has expired")
        if tracker.expiration > storage.max_live_until:
            raise HostError(Type.SCE_AUTH, Code.SCEC_INVALID_INPUT, "signature expiration is too late")
        assert tracker.nonce is not None  # noqa: S101 - seen by the caller
        use_nonce(storage, tracker.address, tracker.nonce, tracker.expiration)

    # Recording

    def _record(self, address: str, function: xdr.SorobanAuthorizedFunction) -> None:
        for tracker in self._trackers:
            if tracker.address == address and tracker.tree.is_matched and not tracker.tree.frame_is_matched:
                tracker.tree.record(function)
                return
        if any(each.address == address and each.tree.frame_is_matched for each in self._trackers):
            raise HostError(Type.SCE_AUTH, Code.SCEC_EXISTING_VALUE, "frame is already authorized")
        depth = self._host.depth
        if self.root_only and depth != 1:
            raise HostError(Type.SCE_AUTH, Code.SCEC_INVALID_ACTION, "not tied to the root invocation")
        stack: list[int | None] = [None] * (depth - 1)
        tree = Tree(Node(function, used=True), [*stack, ROOT], depth - 1)
        tracker = Tracker(
            address, tree, Credentials.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT, scval.to_void(), None, 0, True
        )
        if address != self._host.source:
            tracker.credentials = Credentials.SOROBAN_CREDENTIALS_ADDRESS_V2
            tracker.nonce = self._new_nonce()
            storage = self._host.storage
            use_nonce(storage, address, tracker.nonce, storage.max_live_until)
        self._trackers.append(tracker)

    def emulate_authentication(self) -> None:
        """After recording: read what checking the signatures will read."""
        for tracker in self._trackers:
            if tracker.nonce is None:
                continue
            self._host.budget.charge("verify_ed25519")
            if tracker.address.startswith("C"):
                self._host.touch_contract(tracker.address)
            else:
                self._host.storage.read_account(account_of(tracker.address))

    def recorded(self, upgraded: bool) -> list[xdr.SorobanAuthorizationEntry]:
        """Return the entries to sign: with ADDRESS_V2 credentials, or with the older ADDRESS ones."""
        found = []
        for tracker in self._trackers:
            if tracker.nonce is None:
                credentials = xdr.SorobanCredentials(Credentials.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT)
            else:
                unsigned = xdr.SorobanAddressCredentials(
                    contract_address(tracker.address),
                    xdr.Int64(tracker.nonce),
                    xdr.Uint32(0),
                    scval.to_void(),
                )
                credentials = (
                    xdr.SorobanCredentials(Credentials.SOROBAN_CREDENTIALS_ADDRESS_V2, address_v2=unsigned)
                    if upgraded
                    else xdr.SorobanCredentials(Credentials.SOROBAN_CREDENTIALS_ADDRESS, address=unsigned)
                )
            found.append(xdr.SorobanAuthorizationEntry(credentials, tracker.tree.root.to_xdr()))
        return found


def signature_payload(network_id: bytes, tracker: Tracker) -> bytes:
    """Return the hash that is signed."""
    assert tracker.nonce is not None  # noqa: S101 - the source account signs the transaction instead
    common = (xdr.Int64(tracker.nonce), xdr.Uint32(tracker.expiration))
    invocation = tracker.tree.root.to_xdr()
    if tracker.credentials is Credentials.SOROBAN_CREDENTIALS_ADDRESS_V2:
        bound = xdr.HashIDPreimageSorobanAuthorizationWithAddress(
            xdr.Hash(network_id), *common, contract_address(tracker.address), invocation
        )
        image = xdr.HashIDPreimage(
            xdr.EnvelopeType.ENVELOPE_TYPE_SOROBAN_AUTHORIZATION_WITH_ADDRESS,
            soroban_authorization_with_address=bound,
        )
    else:
        plain = xdr.HashIDPreimageSorobanAuthorization(xdr.Hash(network_id), *common, invocation)
        image = xdr.HashIDPreimage(
            xdr.EnvelopeType.ENVELOPE_TYPE_SOROBAN_AUTHORIZATION, soroban_authorization=plain
        )
    return hashlib.sha256(image.to_xdr_bytes()).digest()


def account_of(address: str) -> bytes:
    """Return the raw key of an account's address."""
    return Keypair.from_public_key(address).raw_public_key()


def use_nonce(storage: Storage, address: str, nonce: int, live_until: int) -> None:
    """Write a nonce that must not be there; it stays until its signature has expired."""
    value = xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_NONCE, nonce_key=xdr.SCNonceKey(xdr.Int64(nonce)))
    key = data_key(address, value, Durability.TEMPORARY)
    if storage.get(key) is not None:
        raise HostError(Type.SCE_AUTH, Code.SCEC_EXISTING_VALUE, "nonce already exists for address")
    entry = xdr.ContractDataEntry(
        xdr.ExtensionPoint(0), contract_address(address), value, Durability.TEMPORARY, scval.to_void()
    )
    data = xdr.LedgerEntryData(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=entry)
    storage.put(data, max(live_until, storage.min_live_until(temporary=True)))


def check_account_signatures(storage: Storage, address: str, payload: bytes, signature: xdr.SCVal) -> None:
    """Check a classic account's signatures: ordered keys, known signers, the medium threshold."""
    signatures = [_read_signature(each) for each in _items(signature)]
    if not 0 < len(signatures) <= MAX_ACCOUNT_SIGNATURES:
        raise contract_error(AUTHENTICATION_ERROR, f"{len(signatures)} signatures")
    account = storage.read_account(account_of(address))
    if account is None:
        raise HostError(Type.SCE_STORAGE, Code.SCEC_MISSING_VALUE, "no such account")
    weight, previous = 0, b""
    for key, signed in signatures:
        if previous >= key:
            raise contract_error(AUTHENTICATION_ERROR, "public keys are not ordered")
        previous = key
        try:
            Keypair.from_raw_ed25519_public_key(key).verify(payload, signed)
        except Exception as error:
            raise HostError(Type.SCE_CRYPTO, Code.SCEC_INVALID_INPUT, "a wrong signature") from error
        own = min(weight_of(account, key), MAX_WEIGHT)
        if own == 0:
            raise contract_error(AUTHENTICATION_ERROR, "signer does not belong to account")
        weight += own
    if weight < account.thresholds[1]:
        raise contract_error(AUTHENTICATION_ERROR, "signature weight is lower than threshold")


def _items(value: xdr.SCVal) -> list[xdr.SCVal]:
    if value.vec is None:
        raise HostError(Type.SCE_VALUE, Code.SCEC_UNEXPECTED_TYPE, "signatures come in a vec")
    return list(value.vec.sc_vec)


def _read_signature(value: xdr.SCVal) -> tuple[bytes, bytes]:
    fields = (
        {bytes(each.key.sym.sc_symbol): each.val for each in value.map.sc_map if each.key.sym}
        if (value.map is not None)
        else {}
    )
    key, signed = fields.get(b"public_key"), fields.get(b"signature")
    if len(fields) != 2 or key is None or signed is None or key.bytes is None or signed.bytes is None:
        raise HostError(Type.SCE_VALUE, Code.SCEC_UNEXPECTED_TYPE, "not an account's signature")
    found = bytes(key.bytes.sc_bytes), bytes(signed.bytes.sc_bytes)
    if (len(found[0]), len(found[1])) != (32, 64):
        raise HostError(Type.SCE_VALUE, Code.SCEC_UNEXPECTED_SIZE, "not an account's signature")
    return found
