"""A seeded stranger on anvil: locks, claims and refunds in every way that the contract accepts, and what the
ledger made of them, kept apart from logs: the contract itself says which locks are open."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import httpx
import msgspec
from eth_account import Account
from eth_hash.auto import keccak

from bridge.chains.port import Claimed as ClaimedEvent
from bridge.chains.port import HtlcEvent, LockStatus, Revealed
from bridge.chains.port import Locked as LockedEvent
from bridge.chains.port import Refunded as RefundedEvent
from bridge.protocol.types import Address, Amount, Asset, LockId, LockTerms, Preimage, UnixSeconds
from relayers.evm import erc20, htlc
from relayers.evm.adapter import EvmPort, open_port
from relayers.evm.devnet import demo_token
from relayers.evm.htlc import COIN, Call, EvmLockTerms
from tests.conformance.ethereum_calls import deploy
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.hostile.evm_calls import Claimed, Effect, Locked, Refunded, Sending, Step, Ways, batch
from tests.conformance.rig import Watcher
from tests.unit.ethereum_contract.evm import compiled

LOCKS = 48
"""Locks in one round, and spends of them."""
GAS = 3_000_000
ETHER = 10**18


class World:
    """One stranger's doings, watched by one port."""

    def __init__(self, rig: EthereumRig, seed: int) -> None:
        self.rig = rig
        self.rng = random.Random(seed)
        self.seed = seed
        self.port: EvmPort = open_port(
            msgspec.structs.replace(rig.devnet.settings, ws_url=""), keccak(b"hostile watcher")
        )
        self.watcher = Watcher(self.port)
        self.keys = [Account.from_key(keccak(f"hostile {seed} {number}".encode())) for number in range(4)]
        self.people = [str(key.address) for key in self.keys]
        self.spends = 0
        self.lane = 0
        self._client = httpx.AsyncClient(base_url=rig.devnet.rpc_url, timeout=120)

    async def start(self) -> World:
        """Give everybody money, and the contracts their approvals."""
        code = compiled()
        contracts = [await deploy(self.rig, code["Hostile"][0]) for _ in range(3)]
        self.ways = Ways(self.rig.devnet.contract, contracts, code["Born"][0], self.people, self.rng)
        self.locker = [*self.people, *contracts]
        await self.rpc(*[("anvil_setBalance", [who, hex(10**6 * ETHER)]) for who in self.locker])
        await self.rpc(("anvil_autoImpersonateAccount", [True]))
        token = self.rig.token.contract
        approve = bytes.fromhex(erc20.approve(self.rig.devnet.contract, erc20.MAX_ALLOWANCE)[2:])
        for who in self.locker:
            mint = bytes.fromhex(demo_token.mint(who, 10**24)[2:])
            await self.transact([Sending(self.people[0], token, mint, 0, ())])
            await self.transact([Sending(who, token, approve, 0, ())])
        await self.watcher.look()
        return self

    async def close(self) -> None:
        """Leave the node as it was."""
        await self.rpc(("anvil_autoImpersonateAccount", [False]))
        await self._client.aclose()
        await self.port.close()

    # ------------------------------------------------------------------ the node

    async def rpc(self, *calls: tuple[str, list[Any]]) -> list[Any]:
        """Return the results of calls."""
        body = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(calls)
        ]
        answers = sorted((await self._client.post("/", json=body)).json(), key=lambda answer: answer["id"])
        failed = [answer for answer in answers if "error" in answer]
        assert not failed, (self.seed, failed[0])
        return [answer["result"] for answer in answers]

    async def transact(self, sendings: list[Sending]) -> list[str]:
        """Send all, put them into one block or more, and check that each went as it should."""
        calls: list[tuple[str, list[Any]]] = []
        for sending in sendings:
            fields = {
                "from": sending.sender,
                "data": "0x" + sending.data.hex(),
                "value": hex(sending.value),
                "gas": hex(GAS),
                "maxFeePerGas": hex(100 * 10**9),
                "maxPriorityFeePerGas": hex(10**9),
            }
            calls.append(
                ("eth_sendTransaction", [fields if sending.to is None else {**fields, "to": sending.to}])
            )
        ids: list[str] = []
        for start in range(0, len(calls), 8):  # 8 × 3 million gas fit a block
            ids += await self.rpc(*calls[start : start + 8])
            await self.rpc(("anvil_mine", ["0x1"]))
        receipts = await self.rpc(*[("eth_getTransactionReceipt", [tx_id]) for tx_id in ids])
        for sending, receipt in zip(sendings, receipts, strict=True):
            assert receipt is not None, (self.seed, sending)
            assert (receipt["status"] == "0x1") is sending.succeeds, (self.seed, sending)
        return ids

    async def are_open(self, locks: list[EvmLockTerms]) -> list[bool]:
        """Ask the contract."""
        calls = [
            (
                "eth_call",
                [{"to": self.rig.devnet.contract, "data": _hex(htlc.encode_is_open(lock))}, "latest"],
            )
            for lock in locks
        ]
        return [int(answer, 16) == 1 for answer in await self.rpc(*calls)]

    # ------------------------------------------------------------------ one round

    async def round(self) -> None:
        """Make locks, spend them in odd ways, and hold what the port says against what was done."""
        now = int((await self.rpc(("eth_getBlockByNumber", ["latest", False])))[0]["timestamp"], 16)
        made = [self._terms(now) for _ in range(LOCKS)]
        refunds = [pair for pair in made if pair[0].deadline < now + 10_000]
        claims = [pair for pair in made if pair not in refunds]
        sendings = self._locking(made)
        sendings += self._spending(claims)
        ids = await self.transact(sendings)
        await self.rpc(("evm_setNextBlockTimestamp", [now + 20_000]), ("anvil_mine", ["0x1"]))
        later = self._refunding(refunds)
        ids += await self.transact(later)
        sendings += later
        wanted = {id(effect): effect for sending in sendings for effect in sending.effects}
        assert not any(await self.are_open([terms for terms, _ in made])), self.seed
        events = await self._events()
        self._compare(sendings, ids, events)
        await self._read_back(made, refunds)
        self.spends += sum(not isinstance(effect, Locked) for effect in wanted.values())

    def _terms(self, now: int) -> tuple[EvmLockTerms, bytes]:
        rng = self.rng
        preimage = rng.randbytes(32 if rng.random() < 0.6 else rng.choice((0, 1, 31, 33, 55, 64)))
        lane = 0
        if rng.random() < 0.3:
            self.lane += 1
            lane = self.lane
        refunded = rng.random() < 0.3
        terms = EvmLockTerms(
            sender=rng.choice(self.locker),
            recipient=rng.choice(self.locker),
            token=COIN if rng.random() < 0.7 else self.rig.token.contract,
            amount=rng.randint(1, 10**6),
            hashlock=hashlib.sha256(preimage).digest(),
            deadline=now + (9_000 if refunded else 10**6) + rng.randint(0, 99),
            lane=lane,
        )
        return terms, preimage

    def _locking(self, made: list[tuple[EvmLockTerms, bytes]]) -> list[Sending]:
        return [self._locked_by(terms, [self.ways.lock(terms)]) for terms, _ in made]

    def _locked_by(self, terms: EvmLockTerms, steps: list[Step]) -> Sending:
        """Return a transaction by the sender of a lock, as which only it can act."""
        if terms.sender in self.ways.contracts:
            return self.ways.by(self.rng.choice(("run", "nest")), steps, terms.sender)
        (step,) = steps
        return Sending(terms.sender, step.to, step.call.data, step.call.value, step.effects, how="lock")

    def _spending(self, claims: list[tuple[EvmLockTerms, bytes]]) -> list[Sending]:
        rng, ways = self.rng, self.ways
        left = list(claims)
        sent: list[Sending] = []
        while left:
            kind = rng.choice(
                ("one", "one", "many", "batch", "failing", "undone", "again", "agreed", "reverts")
            )
            terms, preimage = left.pop()
            match kind:
                case "many":
                    others = [left.pop() for _ in range(min(len(left), rng.randint(1, 4)))]
                    sent.append(ways.wrapped([ways.claim(*pair) for pair in ((terms, preimage), *others)]))
                case "batch" if len(preimage) == 32:
                    sent.append(self._batch(terms, preimage, left))
                case "failing":
                    wrong = Step(ways.htlc, Call(htlc.encode_claim(terms, b"w" * 32).data), fails=True)
                    steps = [ways.claim(terms, preimage), wrong]
                    rng.shuffle(steps)
                    sent.append(ways.wrapped(steps))
                case "undone":
                    sent.append(ways.by("undo", [ways.claim(terms, preimage)]))
                    sent.append(ways.wrapped([ways.claim(terms, preimage)]))
                case "again" if terms.sender in ways.contracts:
                    steps = [
                        ways.claim(terms, preimage),
                        ways.lock(terms),
                        ways.claim(terms, preimage),
                    ]
                    sent.append(ways.by(rng.choice(("run", "lax")), steps, terms.sender))
                case "agreed" if terms.recipient in self.people:
                    sent.append(ways.wrapped([self._agreed(terms)]))
                case "reverts":
                    spent = ways.claim(terms, preimage)
                    sent.append(ways.wrapped([spent]))
                    sent.append(self._reverting(terms, preimage))
                case _:
                    sent.append(ways.wrapped([ways.claim(terms, preimage)]))
        return sent

    def _batch(self, terms: EvmLockTerms, preimage: bytes, left: list[tuple[EvmLockTerms, bytes]]) -> Sending:
        """Return a batch with all others that it can hold, one lock that never was, and one that is spent."""
        together = [(terms, preimage)]
        for pair in list(left):
            other = pair[0]
            same = (other.recipient, other.token) == (terms.recipient, terms.token)
            if same and len(pair[1]) == 32 and self.rng.random() < 0.8:
                left.remove(pair)
                together.append(pair)
        never = self.rng.randbytes(32)
        ghost = msgspec.structs.replace(
            terms, amount=terms.amount + 1, hashlock=hashlib.sha256(never).digest()
        )
        claims = [*together, (ghost, never), *self.rng.sample(together, 1)]
        # What comes twice is left out the second time: what is not open is passed over.
        effects = tuple(Claimed(*pair) for pair in together)
        shows = (*(secret for _, secret in together), never)
        step = Step(self.ways.htlc, Call(batch(claims, self.rng)), effects, shows)
        return self.ways.wrapped([step])

    def _agreed(self, terms: EvmLockTerms) -> Step:
        nonce, expiry = self.rng.getrandbits(200), 2**60
        typed = htlc.cooperative_refund_typed_data(
            self.rig.devnet.chain_id, self.ways.htlc, terms, nonce=nonce, expiry=expiry
        )
        key = self.keys[self.people.index(terms.recipient)]
        signature = bytes(key.sign_typed_data(full_message=typed).signature)
        call = htlc.encode_cooperative_refund(terms, nonce=nonce, expiry=expiry, signature=signature)
        return Step(self.ways.htlc, call, (Refunded(terms),))

    def _reverting(self, terms: EvmLockTerms, preimage: bytes) -> Sending:
        """Return a claim that comes too late, or never had a lock: what it shows is a secret all the same."""
        ghost = msgspec.structs.replace(terms, amount=terms.amount + 7)
        data = htlc.encode_claim(ghost, preimage).data
        return Sending(
            self.people[0], self.ways.htlc, data, 0, (), (preimage,), succeeds=False, how="reverts"
        )

    def _refunding(self, refunds: list[tuple[EvmLockTerms, bytes]]) -> list[Sending]:
        left = [self.ways.refund(terms) for terms, _ in refunds]
        sent: list[Sending] = []
        while left:
            steps = [left.pop() for _ in range(min(len(left), self.rng.choice((1, 1, 1, 3))))]
            sent.append(self.ways.wrapped(steps))
        return sent

    # ------------------------------------------------------------------ what the port says

    async def _events(self) -> list[HtlcEvent]:
        events: list[HtlcEvent] = []
        while True:
            scan = await self.watcher.look()
            assert not scan.set_aside, (self.seed, scan.set_aside)
            events += scan.events
            if scan.blocks and scan.blocks[-1].id == scan.tip.block.id:
                return events

    def _compare(self, sendings: list[Sending], ids: list[str], events: list[HtlcEvent]) -> None:
        by_tx: dict[str, list[HtlcEvent]] = {tx_id: [] for tx_id in ids}
        for event in events:
            if event.tx_id in by_tx:
                by_tx[event.tx_id].append(event)
            else:
                raise AssertionError((self.seed, "an event of a transaction that nobody sent", event))
        for sending, tx_id in zip(sendings, ids, strict=True):
            found = by_tx[tx_id]
            spends = [self._meaning(event) for event in found if not isinstance(event, Revealed)]
            wanted = [self._wanted(effect) for effect in sending.effects]
            assert spends == wanted, (self.seed, sending.how, sending, found)
            shown = {event.preimage.reveal() for event in found if isinstance(event, ClaimedEvent | Revealed)}
            assert set(sending.shows) <= shown, (self.seed, sending.how, sending)

    def _meaning(self, event: HtlcEvent) -> tuple[str, LockId, bytes]:
        preimage = event.preimage.reveal() if isinstance(event, ClaimedEvent) else b""
        assert not isinstance(event, Revealed)
        return type(event).__name__, event.lock_id, preimage

    def _wanted(self, effect: Effect) -> tuple[str, LockId, bytes]:
        devnet = self.rig.devnet
        lock_id = LockId("0x" + htlc.lock_id(devnet.chain_id, devnet.contract, effect.terms).hex())
        kind = {Locked: LockedEvent, Claimed: ClaimedEvent, Refunded: RefundedEvent}[type(effect)]
        return kind.__name__, lock_id, effect.preimage if isinstance(effect, Claimed) else b""

    async def _read_back(
        self, made: list[tuple[EvmLockTerms, bytes]], refunds: list[tuple[EvmLockTerms, bytes]]
    ) -> None:
        """Ask the port for some of the locks directly."""
        for terms, _ in self.rng.sample(refunds, min(2, len(refunds))):
            status = await self.port.read_lock(self._wanted(Locked(terms))[1], self._ours(terms))
            assert status is LockStatus.REFUNDED, (self.seed, terms)
        for terms, _ in self.rng.sample([pair for pair in made if pair not in refunds], 2):
            status = await self.port.read_lock(self._wanted(Locked(terms))[1], self._ours(terms))
            assert status in {LockStatus.CLAIMED, LockStatus.REFUNDED}, (self.seed, terms)

    def _ours(self, terms: EvmLockTerms) -> LockTerms:
        token: Asset = self.rig.native if terms.token == COIN else self.rig.token
        return LockTerms(
            self.rig.chain,
            Address(self.rig.devnet.contract),
            Address(terms.sender),
            Address(terms.recipient),
            token,
            Amount(terms.amount),
            terms.hashlock,
            UnixSeconds(terms.deadline),
            lane=terms.lane,
        )


def _hex(call: Call) -> str:
    return "0x" + call.data.hex()


def opens(terms: EvmLockTerms, preimage: bytes) -> bool:
    """Tell whether a preimage opens a lock."""
    return Preimage(preimage).opens(terms.hashlock)
