"""Where locks stand, remembered from the moment they are seen.

Anybody can put dust at the validator's address. A lock is therefore asked for by the output that it is, not
looked for among all that lies there; and what has not been seen yet is looked for among what is new.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from bridge.protocol.types import BlockRef, LockTerms
from relayers.cardano.chain_view import ChainView, Output, OutRef, Traced
from relayers.cardano.htlc import Reader, credential

_KEPT = 50_000
"""Terms: some 50 MB. The locks that were seen longest ago are forgotten first, and then looked for again."""
_MOST_ALIKE = 20
"""Outputs with the same terms: each holds the whole amount, so nobody makes many."""


class Hints:
    """Where any of several services has shown a lock: told to the others, who are asked for that output.

    A hint proves nothing. A service that lies can fill them with outputs that are none, and crowd out none
    that another service has shown itself.
    """

    def __init__(self) -> None:
        self._places: OrderedDict[LockTerms, list[OutRef]] = OrderedDict()

    def add(self, terms: LockTerms, ref: OutRef) -> None:
        """Take in a hint; the oldest are dropped."""
        known = self._places.setdefault(terms, [])
        self._places.move_to_end(terms)
        if ref not in known:
            known.append(ref)
            del known[:-_MOST_ALIKE]
        if len(self._places) > _KEPT:
            self._places.popitem(last=False)

    def of(self, terms: LockTerms) -> tuple[OutRef, ...]:
        """Return where locks with these terms may stand."""
        return tuple(self._places.get(terms, ()))


class LockIndex:
    """The outputs of one network's locks as one service has shown them, by their terms."""

    def __init__(self, view: ChainView, reader: Reader, hints: Hints | None = None) -> None:
        self._view = view
        self._reader = reader
        self._hints = Hints() if hints is None else hints
        self._seen: OrderedDict[LockTerms, list[OutRef]] = OrderedDict()
        self._complete_at: BlockRef | None = None
        """The block up to which all that was unspent then has been seen."""

    def remember(self, output: Output) -> None:
        """Note where a lock stands; an output that is none is passed over."""
        terms = self._reader.terms(output)
        if terms is None:
            return
        self._hints.add(terms, output.ref)
        known = self._seen.setdefault(terms, [])
        self._seen.move_to_end(terms)
        if output.ref not in known and len(known) < _MOST_ALIKE:
            known.append(output.ref)
        if len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
            self._complete_at = None

    async def find(self, wanted: Sequence[LockTerms]) -> dict[LockTerms, Output]:
        """Return the first unspent lock with exactly these terms, of each that there is, in the order asked
        for and as of the newest block. Raises `ChainMovedError`."""
        found = {terms: await self._standing(terms) for terms in wanted}
        if any(output is None for output in found.values()):
            await self._look_for_new_ones()
            for terms in [terms for terms, output in found.items() if output is None]:
                found[terms] = await self._standing(terms)
        return {terms: output for terms, output in found.items() if output is not None}

    async def traces(self, terms: LockTerms) -> list[Traced]:
        """Return all that is remembered of locks with these terms and still on the chain, spent or not."""
        found: list[Traced] = []
        own = list(self._seen.get(terms, ()))
        for ref in own:
            traced = await self._view.output(ref)
            if traced is None:
                self._seen[terms].remove(ref)  # its block has left the chain
            else:
                found.append(traced)
        for ref in self._hints.of(terms):
            hinted = None if ref in own else await self._view.output(ref)
            if hinted is not None and self._reader.terms(hinted.output) == terms:
                self.remember(hinted.output)
                found.append(hinted)
        return found

    async def _standing(self, terms: LockTerms) -> Output | None:
        for traced in await self.traces(terms):
            if traced.spender is None:
                return traced.output
        return None

    async def _look_for_new_ones(self) -> None:
        head = await self._view.head()
        made = None if self._complete_at is None else await self._view.made_after(self._complete_at)
        if made is None:
            made = await self._view.utxos(credential())
        self._complete_at = head
        for output in made:
            self.remember(output)
