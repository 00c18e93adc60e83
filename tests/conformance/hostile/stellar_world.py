"""A Soroban ledger (the devnet's, held to the real host by recordings) where strangers lock and spend in all
the ways that contracts allow.

The truth is what was composed: when a transaction succeeds, each of its steps took effect, in order, save
those that were undone inside of it. Which locks stand afterwards is compared with the ledger's entries too.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stellar_sdk import Keypair, StrKey, TransactionBuilder, TransactionEnvelope, scval, xdr
from stellar_sdk.auth import authorize_entry
from stellar_sdk.soroban_rpc import AuthMode

from bridge.chains.port import Claimed, Locked, LockStatus, Refunded, Revealed
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Address, Amount, BlockRef, LockId, LockTerms, Preimage, UnixSeconds
from relayers.stellar import contract
from relayers.stellar.adapter import StellarPort, open_port
from relayers.stellar.devnet import entries
from relayers.stellar.devnet.soroban.storage import entry_at
from relayers.stellar.settings import XLM, StellarSettings
from scripts.soroban_vectors.tokens import compiled
from tests import instances
from tests.unit.stellar.soroban.chain import Chain, key_of

_SIZES = (0, 1, 8, 20, 31, 32, 32, 32, 33, 63, 64)
_PAYERS = 12
_STROOPS = 10**7
_WAYS = (
    "direct", "run", "nest", "lax", "undo", "fire", "again", "born", "shout", "starved", "twice", "direct",
)  # fmt: skip
Calls = list[xdr.SCVal]


@dataclass
class Lock:
    """A lock's terms and the preimage that opens it. `early`: it can be refunded soon."""

    terms: LockTerms
    id: LockId
    preimage: bytes
    early: bool


@dataclass(frozen=True)
class Step:
    """One thing done to a lock: "lock", "claim" or "refund", by the function of the contract."""

    kind: str
    function: str
    lock: Lock
    arguments: tuple[xdr.SCVal, ...]

    @property
    def event(self) -> tuple[str, LockId, bytes]:
        """What the port must tell of it."""
        return self.kind, self.lock.id, self.lock.preimage if self.kind == "claim" else b""


@dataclass
class Sent:
    """A transaction: what it does when it succeeds, the preimages that stand in it, and those that do not."""

    tx_id: str
    way: str
    steps: list[Step]
    shown: list[bytes] = field(default_factory=list)
    hidden: list[bytes] = field(default_factory=list)


class StellarWorld:
    """Makes locks and spends, and compares what the port says of them."""

    def __init__(self, chain: Chain, seed: str) -> None:
        self._chain = chain
        self._chance = random.Random(f"stellar/{seed}")
        self._senders = [key_of(f"hostile {seed} sender {n}") for n in range(2)]
        self._recipient = key_of(f"hostile {seed} recipient")
        self._payers = [key_of(f"hostile {seed} payer {n}") for n in range(_PAYERS)]
        self._keys = {each.public_key: each for each in (*self._senders, self._recipient, *self._payers)}
        self._free: list[Keypair] = []
        self._deck: list[str] = []
        self._open: list[Lock] = []
        self._ring: list[BlockRef] = []
        self._number = 0
        self.spends = 0
        self.ways: Counter[str] = Counter()

    async def start(self) -> StellarWorld:
        chain = self._chain
        await chain.fund(*self._keys.values(), stroops=10**14)
        code = compiled("router")
        self._routers = [await chain.deploy_wasm(code, bytes([n]) * 32) for n in range(1, 4)]
        settings = StellarSettings((chain.rpc.server_url,), chain.contract, chain.passphrase, (XLM,))
        self.port: StellarPort = open_port(settings, devnet_key("hostile/reader"))
        self._ring = list((await self.port.scan((), 1)).blocks)
        return self

    async def close(self) -> None:
        await self.port.close()

    # ------------------------------------------------------------------ one round

    async def round(self) -> None:
        """Make locks, spend most of them, read it all back, and compare."""
        sent: list[Sent] = []
        while len(self._open) < 20:
            sent += await self._make_locks()
        archived = self._chance.random() < 0.2
        if archived:
            self._archive()
        await self._chain.node.advance(60)
        self._chance.shuffle(self._open)
        for _ in range(2):
            before = len(sent)
            self._free = list(self._payers)
            while len(self._free) > 3 and self._open:
                sent += await self._spend_some()
            await self._chain.node.close()
            self.ways["archived"] += archived and len(sent) > before
        await self._compare(sent)

    def _archive(self) -> None:
        """Let the time of every entry of contracts end, as months without anybody would."""
        state = self._chain.node.network.state
        last = self._chain.node.network.header.sequence - 1
        for key, entry in list(state._changes.items()):
            if isinstance(entry, entries.ContractEntry) and entry.live_until > last:
                state._changes[key] = replace(entry, live_until=last)

    async def _make_locks(self) -> list[Sent]:
        self._free = list(self._payers)
        sent = []
        for _ in range(6):
            made = [self._new_lock() for _ in range(self._chance.choice([1, 1, 2, 4]))]
            self._open += made
            steps = [self._step("lock", lock) for lock in made]
            sent.append(await self._send("direct" if len(steps) == 1 else "run", steps))
        await self._chain.node.close()
        return sent

    def _new_lock(self) -> Lock:
        self._number += 1
        chance = self._chance
        preimage = chance.randbytes(chance.choice(_SIZES))
        early = chance.random() < 0.4
        terms = LockTerms(
            instances.STELLAR,
            Address(self._chain.contract),
            Address(chance.choice(self._senders).public_key),
            Address(self._recipient.public_key),
            XLM,
            Amount(_STROOPS + self._number),
            Preimage(preimage).hashlock(),
            UnixSeconds(self._chain.now + (40 if early else 10**6)),
        )
        return Lock(terms, contract.lock_id(terms, self._chain.passphrase), preimage, early)

    # ------------------------------------------------------------------ ways

    async def _spend_some(self) -> list[Sent]:
        """Compose transactions that spend one to three locks in one of the ways that there are."""
        chance = self._chance
        if not self._deck:
            self._deck = list(_WAYS)
            chance.shuffle(self._deck)
        way = self._deck.pop()
        wanted = 1 if way in {"direct", "twice", "again", "starved"} else chance.choice([1, 2, 3])
        locks = [self._open.pop() for _ in range(min(wanted, len(self._open)))]
        if way == "again" and locks[0].early:
            late = next((each for each in self._open if not each.early), None)
            if late is not None:
                self._open.remove(late)
                self._open.append(locks.pop())
                locks = [late]
        steps = [self._spend(lock) for lock in locks]
        match way:
            case "again":
                # The same terms once more, while everybody can know the preimage.
                steps += [self._step("lock", locks[0]), self._step("claim", locks[0])]
                if locks[0].terms.deadline <= self._chain.now + 20:
                    steps, way = steps[:1], "direct"
            case "born":
                new = self._new_lock()
                steps[:0] = [self._step("lock", new), self._step("claim", new)]
            case "undo" | "starved":
                self._open[:0] = locks  # nothing of it stays
            case "fire":
                return await self._fire(steps)
            case "twice":
                # Two claim in the same ledger: one of them fails.
                first = await self._send("direct", [self._step("claim", locks[0])])
                second = await self._send("twice", [self._step("claim", locks[0])])
                return [first, second]
        return [await self._send(way, steps)]

    def _spend(self, lock: Lock) -> Step:
        late = self._chain.now >= lock.terms.deadline
        functions = ["claim", "claim", "claim_for", "refund_coop", "refund" if late else "claim"]
        return self._step(self._chance.choice(functions), lock)

    def _step(self, function: str, lock: Lock) -> Step:
        named, shown = contract.id_value(lock.id), scval.to_bytes(lock.preimage)
        match function:
            case "lock":
                values = contract.term_values(lock.terms, self._chain.passphrase)
                return Step("lock", function, lock, tuple(values))
            case "claim":
                return Step("claim", function, lock, (named, shown))
            case "claim_for":
                fee = scval.to_int128(self._chance.choice([0, 1, lock.terms.amount]))
                payee = scval.to_address(self._chance.choice(self._payers).public_key)
                return Step("claim", function, lock, (named, shown, fee, payee))
        return Step("refund", function, lock, (named,))

    async def _fire(self, steps: list[Step]) -> list[Sent]:
        """A router is told what to do in one ledger, and does it in the next, without showing it again."""
        router = self._chance.choice(self._routers)
        plain = [step if step.function != "claim_for" else self._step("claim", step.lock) for step in steps]
        plain = [step for step in plain if step.function != "refund_coop"]
        self._open[:0] = [step.lock for step in steps if step.function == "refund_coop"]
        if not plain:
            return []
        kept = await self._call(router, "keep", [scval.to_vec(self._calls(plain))], "kept")
        kept.shown = [step.lock.preimage for step in plain if step.kind == "claim"]
        await self._chain.node.close()
        self._free = list(self._payers)
        fired = await self._call(router, "fire", [], "fire")
        fired.steps, fired.hidden = plain, kept.shown
        return [kept, fired]

    def _calls(self, steps: Sequence[Step]) -> Calls:
        return [self._one(self._chain.contract, step.function, list(step.arguments)) for step in steps]

    @staticmethod
    def _one(called: str, function: str, arguments: Calls) -> xdr.SCVal:
        return scval.to_vec([scval.to_address(called), scval.to_symbol(function), scval.to_vec(arguments)])

    async def _send(self, way: str, steps: list[Step]) -> Sent:
        """Send these steps in a way; see `_spend_some`."""
        calls, routers = self._calls(steps), self._chance.sample(self._routers, 3)
        shown = [step.lock.preimage for step in steps if step.kind == "claim"]
        done, function = steps, "run"
        if way in {"direct", "twice", "starved"} and len(steps) == 1:
            sent = await self._call(self._chain.contract, steps[0].function, list(steps[0].arguments), way)
        else:
            match way:
                case "nest":
                    for router in routers[1 : self._chance.choice([2, 3])]:
                        calls = [self._one(router, "run", [scval.to_vec(calls)])]
                case "lax":
                    wrong = [contract.id_value(steps[0].lock.id), scval.to_bytes(b"not it")]
                    calls.insert(
                        self._chance.randrange(len(calls) + 1),
                        self._one(self._chain.contract, "claim", wrong),
                    )
                    function = "lax"
                case "undo":
                    calls, function = [self._one(routers[1], "undo", [scval.to_vec(calls)])], "lax"
                    done = []
                case "shout":
                    calls.insert(self._chance.randrange(len(calls) + 1), self._lie(routers[1]))
            sent = await self._call(routers[0], function, [scval.to_vec(calls)], way)
        sent.steps, sent.shown = done, shown
        return sent

    def _lie(self, router: str) -> xdr.SCVal:
        """An event like our contract's, of an open lock, from another contract."""
        lock = self._chance.choice(self._open) if self._open else self._new_lock()
        parties = [scval.to_address(each) for each in (lock.terms.sender, lock.terms.recipient)]
        kind = self._chance.choice(["claim", "refund"])
        said = scval.to_bytes(b"a lie") if kind == "claim" else scval.to_bool(False)
        topics = scval.to_vec([scval.to_symbol(kind), contract.id_value(lock.id), *parties])
        return self._one(router, "shout", [topics, said])

    # ------------------------------------------------------------------ transactions

    async def _call(self, called: str, function: str, arguments: Calls, way: str) -> Sent:
        """Simulate, have everybody sign, price, perhaps wrap into a fee bump, and submit."""
        chain, chance = self._chain, self._chance
        payer = self._free.pop()
        operation = chain.invocation(function, arguments, called)
        upgraded = chance.random() < 0.5
        envelope = await chain.build(payer, operation)
        simulated = await chain.rpc.simulate_transaction(
            envelope, auth_mode=AuthMode.RECORD_ALL_NOROOT, use_upgraded_auth=upgraded
        )
        assert simulated.error is None, (way, function, simulated.error)
        assert simulated.results
        until = chain.node.network.header.sequence + 50
        operation.auth = []
        for text in simulated.results[0].auth or []:
            entry = xdr.SorobanAuthorizationEntry.from_xdr(text) if isinstance(text, str) else text
            given = entry.credentials.address or entry.credentials.address_v2
            if given is not None:
                assert given.address.account_id is not None
                raw = given.address.account_id.account_id.ed25519
                assert raw is not None
                signer = self._keys[StrKey.encode_ed25519_public_key(raw.uint256)]
                entry = authorize_entry(entry, signer, until, chain.passphrase)
            operation.auth.append(entry)
        envelope = await chain.build(payer, operation)
        data = xdr.SorobanTransactionData.from_xdr(simulated.transaction_data or "")
        data.resources.instructions = xdr.Uint32(
            100_000 if way == "starved" else data.resources.instructions.uint32 + 20_000_000
        )
        data.resources.write_bytes = xdr.Uint32(data.resources.write_bytes.uint32 + 500)
        data.resources.disk_read_bytes = xdr.Uint32(data.resources.disk_read_bytes.uint32 + 500)
        data.resource_fee = xdr.Int64(int(simulated.min_resource_fee or 0) * 5 // 4 + _STROOPS)
        envelope.transaction.soroban_data = data
        envelope.transaction.fee = data.resource_fee.int64 + 1_000
        envelope.sign(payer)
        bumped = chance.random() < 0.3
        self.ways["fee bump" if bumped else "plain"] += 1
        return Sent(await self._submit(envelope, bumped=bumped), way, [])

    async def _submit(self, envelope: TransactionEnvelope, *, bumped: bool) -> str:
        chain = self._chain
        if bumped:
            # The one who pays for it sends nothing else in this ledger.
            bump = TransactionBuilder.build_fee_bump_transaction(
                self._free.pop(), envelope.transaction.fee + 1_000, envelope, chain.passphrase
            )
            bump.sign(self._keys[bump.transaction.fee_source.account_id])
            answer = await chain.rpc.send_transaction(bump)
            assert answer.status.value == "PENDING", answer
            return bump.hash_hex()
        answer = await chain.rpc.send_transaction(envelope)
        assert answer.status.value == "PENDING", answer
        return envelope.hash_hex()

    # ------------------------------------------------------------------ what the port says

    async def _compare(self, sent: Sequence[Sent]) -> None:
        events: dict[str, list[Any]] = {}
        while (scan := await self.port.scan(tuple(self._ring), 200)).blocks:
            self._ring = [*self._ring, *scan.blocks][-100:]
            assert not scan.set_aside, scan.set_aside
            for event in scan.events:
                events.setdefault(event.tx_id, []).append(event)
        for tx in sent:
            self._compare_one(tx, events.pop(tx.tx_id, []))
        assert not [event for found in events.values() for event in found if not isinstance(event, Revealed)]
        locks = {id(step.lock): step.lock for tx in sent for step in tx.steps}
        for lock in self._chance.sample(list(locks.values()), min(6, len(locks))):
            await self._compare_status(lock, sent)

    def _compare_one(self, tx: Sent, found: Sequence[Any]) -> None:
        succeeded = self._succeeded(tx)
        told = [_told(event) for event in found if not isinstance(event, Revealed)]
        revealed = {event.preimage.reveal() for event in found if isinstance(event, Revealed)}
        claimed = {event.preimage.reveal() for event in found if isinstance(event, Claimed)}
        self.ways[tx.way if succeeded else f"{tx.way} failed"] += 1
        wanted = [step.event for step in tx.steps] if succeeded else []
        assert told == wanted, (tx.way, succeeded, told, wanted)
        assert set(tx.shown) <= revealed | claimed, (tx.way, succeeded)
        if succeeded:
            assert set(tx.hidden) <= claimed
            spends = [step for step in tx.steps if step.kind != "lock"]
            self.spends += len(spends)
            self.ways.update(step.function for step in spends)
        else:
            assert tx.way in {"starved", "twice", "direct"}, tx.way

    def _succeeded(self, tx: Sent) -> bool:
        applied = self._chain.node.network.transaction(bytes.fromhex(tx.tx_id))
        assert applied is not None
        return applied.result.succeeded

    def _stands(self, lock: Lock) -> bool:
        key = contract.entry_key(self._chain.contract, lock.id)
        return entry_at(self._chain.node.network.state, key) is not None

    async def _compare_status(self, lock: Lock, sent: Sequence[Sent]) -> None:
        assert self.port.lock_id(lock.terms) == lock.id
        status = await self.port.read_lock(lock.id, lock.terms)
        if self._stands(lock):
            assert status is LockStatus.OPEN
            assert lock in self._open
            return
        done = [step for tx in sent if self._succeeded(tx) for step in tx.steps if step.lock is lock]
        assert done[-1].kind != "lock"
        assert status is (LockStatus.CLAIMED if done[-1].kind == "claim" else LockStatus.REFUNDED)


def _told(event: Any) -> tuple[str, LockId, bytes]:
    match event:
        case Locked(lock_id=lock_id):
            return "lock", lock_id, b""
        case Claimed(lock_id=lock_id, preimage=preimage):
            return "claim", lock_id, preimage.reveal()
        case Refunded(lock_id=lock_id):
            return "refund", lock_id, b""
    return type(event).__name__, event.lock_id, b""
