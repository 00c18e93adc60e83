"""A Cardano ledger, the two services over it, and a stranger who writes every transaction by hand."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cbor2
from aiohttp import web
from pycardano import Address, Network, ScriptHash

from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, LockTerms, UnixSeconds
from relayers.cardano import htlc
from relayers.cardano.adapter import CardanoPort, open_port
from relayers.cardano.devnet import treasury
from relayers.cardano.devnet.ledger import TxRejectedError, cost_models
from relayers.cardano.devnet.raw_body import OutRef
from relayers.cardano.devnet.server import BlockfrostServer
from relayers.cardano.script import validator_address
from relayers.cardano.settings import ADA, CardanoSettings
from relayers.cardano.settings import Network as Kind
from tests import instances
from tests.conformance.hostile.cbor_forms import Constr, Pairs, Tagged, Writer, Written, deep
from tests.unit.cardano.world import ALICE, BOB, CAROL, CardanoWorld, Person

PAYER = CAROL
FEE = 2_500_000
COLLATERAL = 7_000_000
BUDGET = (1_500_000, 600_000_000)
LOCKS_AT_ONCE = 30
DATA, FRAME = ("heads", "arrays"), ("heads",)
"""What scalus takes of what RFC 8949 allows: the ledger takes more, which the unit tests have."""
ALWAYS_TRUE = bytes.fromhex("450101002499")
"""A Plutus V3 script that allows everything: (program 1.1.0 (lam x (con unit ())))."""
LANGUAGE_VIEWS = cbor2.dumps({2: cost_models()["PlutusV3"]})


def blake(raw: bytes, size: int = 32) -> bytes:
    return hashlib.blake2b(raw, digest_size=size).digest()


TRUE_HASH = blake(b"\x03" + ALWAYS_TRUE, 28)
TRUE_PLACE = bytes(Address(ScriptHash(TRUE_HASH), network=Network.TESTNET).to_primitive())
HTLC_PLACE = bytes(Address.from_primitive(validator_address(Network.TESTNET)).to_primitive())


@dataclass(frozen=True)
class Lock:
    """A lock on the chain; `hashed` shows only its datum's hash, which is not a lock that counts."""

    ref: OutRef
    terms: LockTerms
    preimage: bytes
    datum: bytes
    hashed: bool


@dataclass(frozen=True)
class Companion:
    """Another output to spend: at the script that allows all, or at a native script."""

    ref: OutRef
    value: int
    native: bytes | None = None


@dataclass
class Told:
    """What became of the locks of one accepted transaction, as its author knows."""

    tx_id: str
    claimed: dict[str, bytes] = field(default_factory=dict)
    refunded: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    shown: set[bytes] = field(default_factory=set)
    ambiguous: bool = False
    failed: bool = False


def person(key: bytes) -> Person:
    return next(one for one in (ALICE, BOB, CAROL) if one.key == key)


class HostileCardano:
    """Everything is drawn from one seed; `failures` transactions at most can fail."""

    def __init__(self, directory: Path, seed: int, failures: int) -> None:
        self.rng = random.Random(seed)
        self.world = CardanoWorld(directory)
        self.chain = self.world.chain
        self.locks: list[Lock] = []
        self.companions: list[Companion] = []
        self.refused = self.asked = 0
        self.reasons: dict[str, int] = {}
        treasury.fund(self.chain, PAYER.address, "", 10**13)
        self.chain.mine()
        for _ in range(failures + 1):
            treasury.fund(self.chain, PAYER.address, "", COLLATERAL)
            self.chain.mine()
        mine = [ref for ref, out in self.chain.utxos.items() if str(out.address) == PAYER.address]
        coins = {ref: self.chain.utxos[ref].amount.coin for ref in mine}
        self.money = max(coins, key=lambda ref: coins[ref]), max(coins.values())
        self.collaterals = [ref for ref, coin in coins.items() if coin == COLLATERAL]
        self.collateral = self.collaterals.pop()
        self.reference = treasury.genesis()[0][0]

    async def start(self) -> HostileCardano:
        app = BlockfrostServer(self.chain, self.world.ledger).app()
        app.middlewares.append(self._count)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        place = f"127.0.0.1:{self._runner.addresses[0][1]}"
        zero, chain = self.chain.zero_time, instances.CARDANO
        self.settings = CardanoSettings(f"http://{place}/api/v0", Kind.DEV, zero_time=zero, chain=chain)
        own = CardanoSettings(
            "",
            Kind.DEV,
            zero_time=zero,
            chain=chain,
            ogmios_url=f"ws://{place}/ogmios",
            kupo_url=f"http://{place}/kupo",
        )
        self.ports: dict[str, CardanoPort] = {
            "hosted": open_port(self.settings, devnet_key("hostile")),
            "own node": open_port(own, devnet_key("hostile")),
        }
        return self

    @web.middleware
    async def _count(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked += 1
        answer: web.StreamResponse = await handler(request)
        return answer

    async def stop(self) -> None:
        for port in self.ports.values():
            await port.close()
        await self._runner.cleanup()
        self.world.stop()

    # ------------------------------------------------------------------ transactions by hand

    def writer(self) -> Writer:
        """For Plutus data."""
        return Writer(self.rng, self.rng.choice((0.0, 0.1, 0.4, 0.8)), DATA)

    def frame(self) -> Writer:
        """For what stands around it."""
        return Writer(self.rng, self.rng.choice((0.0, 0.1, 0.4)), FRAME)

    def send(
        self,
        inputs: Sequence[OutRef],
        value: int,
        outputs: Sequence[bytes],
        paid: int,
        *,
        redeemers: Sequence[tuple[OutRef, bytes]] = (),
        signers: Sequence[Person] = (),
        start: int | None = None,
        datums: Sequence[bytes] = (),
        natives: Sequence[bytes] = (),
        scripts: Sequence[bytes] = (),
        auxiliary: bytes | None = None,
        certificates: Sequence[Any] = (),
        deposit: int = 0,
        valid: bool = True,
    ) -> str | None:
        """Sign, submit and mine a transaction that spends `inputs` (lovelace `value`) beside the payer's
        money and makes `outputs` (lovelace `paid`). Return its id; None if the ledger refuses it."""
        writer, rng = self.frame(), self.rng
        (money, coins) = self.money
        spent = sorted([*inputs, money])
        change = coins + value - paid - FEE - deposit
        place = bytes(Address.from_primitive(PAYER.address).to_primitive())
        made = [*outputs, self.output(place, change)]
        named = [(0, spent.index(ref), data) for ref, data in redeemers]
        rng.shuffle(named)
        witness: list[tuple[int, bytes]] = []
        shown = b""
        if datums:
            listed = writer.array(list(datums))
            witness.append((4, writer.head(6, 258) + listed if writer.odd() else listed))
            shown = witness[-1][1]
        units = writer.plain(list(BUDGET))
        if rng.random() < 0.5:
            written = writer.array(
                [
                    writer.array([writer.plain(tag), writer.plain(index), data, units])
                    for tag, index, data in named
                ]
            )
        else:
            written = writer.pairs(
                [(writer.plain([tag, index]), writer.array([data, units])) for tag, index, data in named]
            )
        if named:
            witness.append((5, written))
        if natives:
            witness.append((1, writer.array(list(natives))))
        if scripts:
            witness.append((7, writer.array([writer.plain(one) for one in scripts])))
        inputs_written = [writer.plain([bytes.fromhex(ref[0]), ref[1]]) for ref in spent]
        rng.shuffle(inputs_written)
        body: list[tuple[int, bytes]] = [
            (0, self.set_of(writer, inputs_written)),
            (1, writer.array(made)),
            (2, writer.plain(FEE)),
            (3, writer.plain(self.world.slot + 10_000)),
        ]
        if start is not None:
            body.append((8, writer.plain(start)))
        if named:
            keys = [writer.plain(one.key) for one in signers]
            lowest = writer.plain([bytes.fromhex(self.collateral[0]), self.collateral[1]])
            used = writer.plain([self.reference.transaction_id.payload, self.reference.index])
            body += [(13, self.set_of(writer, [lowest])), (18, self.set_of(writer, [used]))]
            body.append((11, writer.plain(blake(written + shown + LANGUAGE_VIEWS))))
            if keys:
                body.append((14, self.set_of(writer, keys)))
        if certificates:
            body.append((4, self.set_of(writer, [writer.plain(one) for one in certificates])))
        if auxiliary is not None:
            body.append((7, writer.plain(blake(auxiliary))))
        rng.shuffle(body)
        raw_body = writer.pairs([(writer.plain(key), item) for key, item in body])
        tx_id = blake(raw_body)
        signing = {one.key: one for one in (PAYER, *signers)}
        keys_written = [
            writer.plain([bytes(one.signing.to_verification_key().payload), one.signing.sign(tx_id)])
            for one in signing.values()
        ]
        witness.append((0, self.set_of(writer, keys_written)))
        rng.shuffle(witness)
        raw_witness = writer.pairs([(writer.plain(key), item) for key, item in witness])
        last = b"\xf6" if auxiliary is None else auxiliary
        raw = writer.array([raw_body, raw_witness, writer.plain(valid), last])
        try:
            record = self.chain.submit(raw)
        except TxRejectedError as error:
            self.refused += 1
            reason = str(error)[:60]
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
            return None
        self.chain.mine()
        assert record.id == tx_id.hex()
        if not valid:
            self.collateral = self.collaterals.pop()
        else:
            self.money = (record.id, len(outputs)), change
        return record.id

    def set_of(self, writer: Writer, items: Sequence[bytes]) -> bytes:
        listed = writer.array(items)
        return writer.head(6, 258) + listed if self.rng.random() < 0.5 else listed

    def output(
        self,
        place: bytes,
        coins: int,
        datum: bytes | None = None,
        *,
        hashed: bool = False,
        script: bytes | None = None,
    ) -> bytes:
        writer = self.frame()
        if datum is None and script is None and self.rng.random() < 0.5:
            return writer.array([writer.plain(place), writer.plain(coins)])
        fields = [(0, writer.plain(place)), (1, writer.plain(coins))]
        if datum is not None and hashed:
            fields.append((2, writer.array([writer.plain(0), writer.plain(blake(datum))])))
        elif datum is not None:
            inline = writer.head(6, 24) + writer.plain(datum)
            fields.append((2, writer.array([writer.plain(1), inline])))
        if script is not None:
            fields.append((3, writer.head(6, 24) + writer.plain(script)))
        self.rng.shuffle(fields)
        return writer.pairs([(writer.plain(key), item) for key, item in fields])

    # ------------------------------------------------------------------ what is there to spend

    def refill(self) -> list[Told]:
        """Make locks with datums of all forms, and outputs at other scripts."""
        writer, rng = self.writer(), self.rng
        outputs: list[bytes] = []
        paid = 0
        made: list[tuple[LockTerms, bytes, bytes, bool]] = []
        for _ in range(LOCKS_AT_ONCE):
            sender, recipient = rng.sample((ALICE, BOB, CAROL), 2)
            preimage = rng.randbytes(rng.choice((0, 1, 31, 32, 32, 32, 33, 63, 64)))
            coins = rng.randint(3_000_000, 9_000_000)
            deadline = self.chain.time_of(self.world.slot) + 2
            digest = hashlib.sha256(preimage).digest()
            terms = LockTerms(
                instances.CARDANO,
                validator_address(Network.TESTNET),
                sender.address,
                recipient.address,
                ADA,
                Amount(coins),
                digest,
                UnixSeconds(deadline),
            )
            datum = writer.data(Constr(0, (sender.key, recipient.key, digest, deadline * 1000)))
            hashed = rng.random() < 0.1
            outputs.append(self.output(HTLC_PLACE, coins, datum, hashed=hashed))
            paid += coins
            made.append((terms, preimage, datum, hashed))
        first = len(outputs)
        natives: list[bytes | None] = []
        for _ in range(6):
            levels = rng.choice((1, 5, 30, 200))
            native = deep(levels, b"\x82\x01\x81", b"\x82\x01\x80") if rng.random() < 0.5 else None
            place = TRUE_PLACE
            if native is not None:
                place = b"\x70" + blake(b"\x00" + native, 28)
            held = None if native is not None else writer.data(self.anything(rng.randint(0, 3)))
            outputs.append(self.output(place, 3_000_000, held))
            paid += 3_000_000
            natives.append(native)
        tx_id = self.send([], 0, outputs, paid)
        if tx_id is None:
            return []
        told = Told(tx_id)
        for index, (terms, preimage, datum, hashed) in enumerate(made):
            self.locks.append(Lock((tx_id, index), terms, preimage, datum, hashed))
            if not hashed:
                told.locked.add(htlc.id_of(terms, self.settings))
        for index, native in enumerate(natives):
            self.companions.append(Companion((tx_id, first + index), 3_000_000, native))
        return [told]

    def dust(self, count: int) -> None:
        """Put outputs that hold next to nothing at the validator's address."""
        outputs = [self.output(HTLC_PLACE, 1_100_000, b"\x01") for _ in range(count)]
        assert self.send([], 0, outputs, count * 1_100_000) is not None

    def anything(self, depth: int) -> Any:
        """Some Plutus data."""
        rng = self.rng
        if depth == 0 or rng.random() < 0.3:
            return rng.choice(
                (rng.randint(-(2**70), 2**70), rng.randint(0, 30), rng.randbytes(rng.randint(0, 100)))
            )
        inner = [self.anything(depth - 1) for _ in range(rng.randint(0, 3))]
        return rng.choice(
            (
                inner,
                Constr(rng.choice((0, 1, 2, 6, 7, 127, 128, 2**40)), tuple(inner)),
                Pairs(tuple((item, item) for item in inner)),
            )
        )

    # ------------------------------------------------------------------ one spend

    def spend(self) -> Told | None:
        """Spend some locks in one transaction as oddly as the ledger allows; None if it refuses."""
        rng, writer = self.rng, self.writer()
        chosen = [self.locks.pop(rng.randrange(len(self.locks))) for _ in range(rng.choice((1, 1, 2, 3)))]
        told = Told("")
        inputs: list[OutRef] = []
        outputs: list[bytes] = []
        redeemers: list[tuple[OutRef, bytes]] = []
        signers: dict[bytes, Person] = {}
        datums: dict[bytes, None] = {}
        natives: list[bytes] = []
        scripts: list[bytes] = []
        value = paid = deposit = 0
        start: int | None = None
        for lock in chosen:
            kind = rng.choice(("claim", "claim", "refund", "give back"))
            terms = lock.terms
            owner = person(htlc.key_hash(terms.sender))
            if kind == "claim":
                owner = person(htlc.key_hash(terms.recipient))
                data: Any = Constr(0, (lock.preimage,))
            elif kind == "refund":
                data = Constr(1, ())
                least = self.world.slot_at(terms.deadline)
                start = max(start or 0, rng.randint(least, max(least, self.world.slot)))
            else:
                data = Constr(2, ())
                signer = person(htlc.key_hash(terms.recipient))
                signers[signer.key] = signer
            if rng.random() < 0.4:
                signers[owner.key] = owner
            else:
                place = bytes(Address.from_primitive(owner.address).to_primitive())
                tag = writer.data(Constr(0, (bytes.fromhex(lock.ref[0]), lock.ref[1])))
                outputs.append(self.output(place, terms.amount, tag))
                paid += terms.amount
            inputs.append(lock.ref)
            value += terms.amount
            redeemers.append((lock.ref, writer.data(data)))
            if lock.hashed:
                datums[lock.datum] = None
            elif kind == "claim":
                told.claimed[htlc.id_of(terms, self.settings)] = lock.preimage
            else:
                told.refunded.add(htlc.id_of(terms, self.settings))
        rng.shuffle(outputs)
        for _ in range(rng.choice((0, 0, 1, 2))):
            if not self.companions:
                break
            other = self.companions.pop(rng.randrange(len(self.companions)))
            inputs.append(other.ref)
            value += other.value
            if other.native is None:
                secret = rng.randbytes(rng.randint(10, 64))
                data = rng.choice(
                    (self.anything(2), Written(deep(rng.choice((1, 50, 900)), b"\x81", b"\x80")))
                )
                whole = Constr(rng.choice((0, 1, 2, 7, 200)), (secret, data))
                redeemers.append((other.ref, writer.data(whole)))
                told.shown.add(secret)
                if ALWAYS_TRUE not in scripts:
                    scripts.append(ALWAYS_TRUE)
            elif other.native not in natives:
                natives.append(other.native)
        if rng.random() < 0.3:
            secret = rng.randbytes(rng.randint(10, 64))
            place = bytes(Address.from_primitive(ALICE.address).to_primitive())
            levels = rng.choice((0, 10, 300, 900))
            datum = deep(levels, b"\x81", writer.data(secret))
            script = writer.array([b"\x00", deep(rng.choice((1, 300)), b"\x82\x01\x81", b"\x82\x01\x80")])
            coins = 30_000_000
            outputs.append(self.output(place, coins, datum, script=script if rng.random() < 0.3 else None))
            paid += coins
            told.shown.add(secret)
        auxiliary = None
        if rng.random() < 0.4:
            auxiliary = self.metadata(writer, told)
        certificates = []
        if rng.random() < 0.15:
            certificates.append([0, [0, rng.randbytes(28)]])
            deposit = 2_000_000
        twice = rng.random() < 0.02
        if twice:
            redeemers.append((chosen[0].ref, writer.data(Constr(2, ()))))
            told.ambiguous = True
        tx_id = self.send(
            inputs,
            value,
            outputs,
            paid,
            redeemers=redeemers,
            signers=list(signers.values()),
            start=start,
            datums=list(datums),
            natives=natives,
            scripts=scripts,
            auxiliary=auxiliary,
            certificates=certificates,
            deposit=deposit,
        )
        if tx_id is None:
            return None
        told.tx_id = tx_id
        told.shown -= set(told.claimed.values())
        return told

    def fail(self) -> Told | None:
        """Try to claim a lock with a preimage that does not open it: the collateral is taken, the lock stays,
        and what was shown is on the chain."""
        rng, writer = self.rng, self.writer()
        lock = rng.choice([one for one in self.locks if not one.hashed])
        secret = rng.randbytes(rng.randint(10, 64))
        place = bytes(Address.from_primitive(ALICE.address).to_primitive())
        tx_id = self.send(
            [lock.ref],
            lock.terms.amount,
            [self.output(place, lock.terms.amount)],
            lock.terms.amount,
            redeemers=[(lock.ref, writer.data(Constr(rng.choice((0, 3)), (secret,))))],
            valid=False,
        )
        return None if tx_id is None else Told(tx_id, shown={secret}, failed=True)

    def metadata(self, writer: Writer, told: Told) -> bytes:
        """Return auxiliary data in one of its three forms, with a secret in it."""
        rng = self.rng
        secret = rng.randbytes(rng.randint(10, 64))
        told.shown.add(secret)
        held: Any = rng.choice((secret, [1, secret], Pairs(((secret, "key"),)), Pairs((("a", [secret]),))))
        levels = rng.choice((0, 5, 600))
        raw = deep(levels, b"\x81", writer.plain(held))
        labels = Pairs(((rng.randint(0, 2**40), Written(raw)),))
        match rng.randrange(3):
            case 0:
                return writer.plain(labels)
            case 1:
                native = deep(rng.choice((1, 300)), b"\x82\x01\x81", b"\x82\x01\x80")
                return writer.array([writer.plain(labels), writer.array([native])])
            case _:
                return writer.plain(Tagged(259, Pairs(((0, labels),))))
