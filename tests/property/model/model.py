"""Who may do what in one slot: people, then the source's miners, the destination's, then the engine."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.protocol import events as ev
from bridge.protocol import rules
from bridge.protocol.status import is_terminal
from bridge.protocol.timelocks import may_reveal
from bridge.protocol.types import LegRole, Purpose, UnixSeconds
from tests.property.model.chain import NEVER, Block, Chain, Party, Tx
from tests.property.model.engine import Engine
from tests.property.model.promises import check_end, check_moment
from tests.property.model.terms import Terms
from tests.property.model.world import (
    CHAINS,
    DESTINATION,
    OWN_LOCK,
    PREIMAGE,
    SOURCE,
    STRAY,
    Bounds,
    Move,
    Phase,
    World,
)


class Model:
    """The rules of the game within some bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.terms = Terms(bounds)
        self.engine = Engine(bounds, self.terms)
        self.horizon = self.terms.deadlines["s"] + bounds.inclusion + bounds.depth + 1

    def begin(self) -> World:
        """Return the world in which the user has just accepted the quote."""
        source, destination = (
            Chain(self.bounds.depth, (Block(0, 0, self._clock(role, 0)),)) for role in CHAINS
        )
        world = World(
            1,
            Phase.PEOPLE,
            source,
            destination,
            self.engine.accepted_swap(),
            faults=self.bounds.faults,
            reorgs=self.bounds.reorgs,
        )
        for role in CHAINS:
            world = self.engine.tick(world, role)
        return world

    def check(self, world: World) -> None:
        """Check what holds at every moment. Raises `BrokenPromiseError`."""
        check_moment(world, self.engine.swap(world), careful=self.bounds.careful)

    def check_end(self, world: World) -> None:
        """Check where a fair continuation has led. Raises `BrokenPromiseError`."""
        check_end(world, self.engine.swap(world), careful=self.bounds.careful)

    def moves(self, world: World) -> Iterator[Move]:
        """Return all that can happen next. Raises `BrokenPromiseError`."""
        match world.phase:
            case Phase.PEOPLE:
                yield from self._people(world)
            case Phase.SOURCE_BLOCK:
                yield from self._miners(world, SOURCE)
            case Phase.DESTINATION_BLOCK:
                yield from self._miners(world, DESTINATION)
            case Phase.ENGINE:
                yield from self._engine(world)

    # -- people ------------------------------------------------------------------------------

    def _people(self, world: World) -> Iterator[Move]:
        yield Move("", world._replace(phase=Phase.SOURCE_BLOCK, last_move=0))
        for number, (name, after) in enumerate(self._wishes(world), 1):
            if after is not None and number > world.last_move:
                yield Move(name, after._replace(done=after.done | {name}, last_move=number))

    def _wishes(self, world: World) -> Iterator[tuple[str, World | None]]:
        """Return everything that somebody could want, in a fixed order; None where it is not possible."""
        careful, bounds = self.bounds.careful, self.bounds
        secret_is_out = "the secret is out" in world.done or not careful
        can_claim = world.destination.spend("d") is None and world.destination.find("d", Purpose.LOCK)
        reveals = can_claim and (not careful or self._may_reveal_carefully(world))
        claim = self._user_tx(Purpose.CLAIM, "d", world, promised=careful)
        yield "the user locks", self._send(world, SOURCE, Tx(Purpose.LOCK, "s", Party.USER))
        yield "the user claims", self._send(self._out(world), DESTINATION, claim) if reveals else None
        odd = bounds.odd_claims and reveals
        yield (
            "the user claims oddly",
            self._send(self._out(world), DESTINATION, claim._replace(odd=True)) if odd else None,
        )
        yield "the user shares the secret", self._share(world) if reveals else None
        shows = not careful and "the secret is shown" not in world.done
        yield "the secret is shown", self._out(world) if shows else None
        yield "a stranger claims the source", self._stranger(world, SOURCE) if secret_is_out else None
        yield (
            "a stranger claims the destination",
            self._stranger(world, DESTINATION) if secret_is_out else None,
        )
        late = world.source.tip.time >= self.terms.deadlines["s"]
        refund = self._user_tx(Purpose.REFUND, "s", world, promised=False)
        yield "the user refunds", self._send(world, SOURCE, refund) if late else None
        if bounds.stray:
            lock = Tx(Purpose.LOCK, STRAY, Party.USER)
            yield "the user locks a stray", self._send(world, SOURCE, lock)
            claims = not careful and world.source.find(STRAY, Purpose.LOCK)
            stray = Tx(Purpose.CLAIM, STRAY, Party.STRANGER)
            yield "a stranger claims the stray", self._send(world, SOURCE, stray) if claims else None
        if bounds.operator:
            command = ev.OperatorCommand(ev.OperatorVerb.COOPERATIVE_REFUND, by="operator")
            yield "an operator gives up", self.engine.feed(world, command)

    def _out(self, world: World) -> World:
        return world._replace(done=world.done | {"the secret is out"})

    def _user_tx(self, kind: Purpose, lock: str, world: World, *, promised: bool) -> Tx:
        return Tx(kind, lock, Party.USER, world.slot + self.bounds.inclusion - 1 if promised else NEVER)

    def _send(self, world: World, role: LegRole, tx: Tx) -> World | None:
        chain = world.chain(role)
        return None if chain.has(tx) else world.with_chain(role, chain.sent(tx))

    def _stranger(self, world: World, role: LegRole) -> World | None:
        lock = OWN_LOCK[role]
        if world.chain(role).find(lock, Purpose.LOCK) is None or world.chain(role).spend(lock):
            return None
        return self._send(self._out(world), role, Tx(Purpose.CLAIM, lock, Party.STRANGER))

    def _may_reveal_carefully(self, world: World) -> bool:
        found = world.destination.find("d", Purpose.LOCK)
        if found is None or not world.destination.is_final(found[1]):
            return False
        now = UnixSeconds(world.destination.tip.time)
        return (
            may_reveal(self.terms.policy.destination, UnixSeconds(self.engine.deadlines(world)["d"]), now)
            is None
        )

    def _share(self, world: World) -> World | None:
        if "the user shares the secret" in world.done:
            return None
        if rules.may_share_secret(self.engine.swap(world), PREIMAGE) is not None:
            return None
        return self.engine.feed(world, ev.SecretShared(PREIMAGE))

    # -- miners ------------------------------------------------------------------------------

    def _miners(self, world: World, role: LegRole) -> Iterator[Move]:
        chain, then = world.chain(role), Phase(world.phase + 1)
        world = world._replace(phase=then)
        time, name = self._clock(role, world.slot), role.value
        deadlines = self.engine.deadlines(world)
        for after in chain.blocks_at(time, world.slot, deadlines):
            yield Move(_what_is_in(after, name), world.with_chain(role, after))
        if world.faults:
            yield Move(f"the {name}'s chain stands still", world._replace(faults=world.faults - 1))
        if not world.reorgs:
            return
        for depth in range(1, min(self.bounds.depth, len(chain.blocks))):
            for forget in (False,) if self.bounds.careful else (False, True):
                for branch in chain.reorganised(depth, world.slot, deadlines, forget):
                    for after in branch.blocks_at(time, world.slot, deadlines):
                        moved = world._replace(reorgs=world.reorgs - 1).with_chain(role, after)
                        yield Move(f"a reorg of {depth}; {_what_is_in(after, name)}", moved)

    def _clock(self, role: LegRole, slot: int) -> int:
        return slot + (self.bounds.skew if role is SOURCE else 0)

    # -- the engine and the end -----------------------------------------------------------

    def _engine(self, world: World) -> Iterator[Move]:
        begun, rested = world, world._replace(slot=world.slot + 1, phase=Phase.PEOPLE)
        unread = self.engine.has_unread(world)
        if unread:
            read = world._replace(done=world.done | {"the odd claim is understood"})
            yield Move("the odd claim is understood", read)
            if not world.faults:
                return
            begun = begun._replace(faults=world.faults - 1)
        yield Move("", self.engine.run(begun))
        if world.faults:
            tired = rested._replace(faults=world.faults - 1)
            yield Move("the engine is down", tired)
            for role in CHAINS:
                yield Move(f"only the {role.value} is scanned", self.engine.scan(tired, role))
            yield Move("the engine acts without having looked", self.engine.act(tired))

    def is_at_rest(self, world: World) -> bool:
        """Tell whether nothing is left to happen by itself: at an end, or some time after the last date."""
        if world.phase is not Phase.PEOPLE:
            return False
        deadlines = self.engine.deadlines(world)
        waiting = any(
            chain.allows(tx, deadlines) for chain in (world.source, world.destination) for tx in chain.mempool
        )
        over = is_terminal(self.engine.swap(world)) and not waiting
        return over or world.slot > self.horizon + 8 * self.bounds.depth + 8 * self.bounds.inclusion

    def fair(self, world: World) -> World:
        """Return the world of the next slot if people do nothing more and miners include all they
        can. It is among the worlds that the moves of this slot lead to."""
        for phase, role in ((Phase.SOURCE_BLOCK, SOURCE), (Phase.DESTINATION_BLOCK, DESTINATION)):
            if world.phase <= phase:
                world = world.with_chain(role, self._fair_block(world, role))
        if self.engine.has_unread(world):
            world = world._replace(done=world.done | {"the odd claim is understood"})
        return self.engine.run(world._replace(last_move=0))

    def _fair_block(self, world: World, role: LegRole) -> Chain:
        deadlines = self.engine.deadlines(world)
        choices = world.chain(role).blocks_at(self._clock(role, world.slot), world.slot, deadlines)
        return max(choices, key=lambda chain: (len(chain.tip.txs), chain.tip.txs))


def _what_is_in(chain: Chain, name: str) -> str:
    inside = ", ".join(str(tx) for tx in chain.tip.txs)
    return f"the {name}'s block: {inside}" if inside else ""
