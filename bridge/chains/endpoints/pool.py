"""The endpoints of one network: looked at before they are asked, left when they fail, lag or are foreign.

A chain gives a client for each URL and says how an endpoint shows its identity and its head. Which one is
asked is decided by `selection`; here are the requests, and the only clocks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from bridge.chains.endpoints.agreement import Agreed, Agreement, NotAgreed
from bridge.chains.endpoints.ancestry import Ancestry
from bridge.chains.endpoints.answers import Answer, EndpointError, reading
from bridge.chains.endpoints.reports import Report
from bridge.chains.endpoints.selection import Head, Rules, Selection, Verdict
from bridge.chains.endpoints.sending import outcome_of
from bridge.chains.errors import DeepReorgError, PortError, PortUnavailableError
from bridge.chains.port import BroadcastResult


class Client(Protocol):
    """What speaks to one endpoint."""

    async def close(self) -> None:
        """Close the connections."""
        ...


ClientT = TypeVar("ClientT", bound=Client)
ResultT = TypeVar("ResultT")

Identify = Callable[[ClientT], Awaitable[None]]
"""Raises a `PortError` that is no `PortUnavailableError` for an endpoint of another network or contract."""
ReadHead = Callable[[ClientT], Awaitable[Head]]

_PROBE_PATIENCE = 2.0
"""Seconds that a request waits for the heads of all endpoints."""

_READINGS, _MOVED_PAUSE = 3, 0.02
"""How often a chain is read that changes while it is read, and seconds between."""

_LIMITS_IN_A_ROW = 6
"""How often an endpoint may put one request off without having served any more of it."""


class Pool(Generic[ClientT]):
    """The endpoints of one network, in the order of the configuration.

    `network` is what messages call them together ("the Solana RPC"), `names` what each is called (see
    `names.endpoint_names`). `identify` is asked before an endpoint's first use, after each failure, and after
    `reconnected`. `head` reads the newest block; without it no endpoint is known to lag. With `ancestry` a
    head bars nobody whose chain is not below it. `clock` is the time of day, `monotonic` never jumps; both in
    seconds.
    """

    def __init__(
        self,
        clients: Sequence[ClientT],
        names: Sequence[str],
        network: str,
        *,
        rules: Rules = Rules(),
        identify: Identify[ClientT] | None = None,
        head: ReadHead[ClientT] | None = None,
        ancestry: Ancestry[ClientT] | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not clients:
            raise PortError(f"no URL of {network} is configured", "set rpc_urls of the chain")
        self.clients = tuple(clients)
        self.names = tuple(names)
        self._network = network
        self._rules = rules
        self._identify = identify
        self._head = head
        self._clock = clock
        self._monotonic = monotonic
        self._ancestry = ancestry
        self._selection = Selection(len(self.clients), rules, heads_need_backing=ancestry is not None)
        self._known: set[int] = set()
        """Endpoints whose identity was checked since their last failure."""
        self._foreign: dict[int, PortError] = {}
        self._next_probe = float("-inf")
        self._probing: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[BroadcastResult]] = set()

    def __repr__(self) -> str:
        return f"Pool({self._network}, {len(self.clients)} endpoints)"

    @property
    def only_one(self) -> bool:
        """Whether a single endpoint is configured: nobody can contradict it."""
        return len(self.clients) == 1

    @property
    def current(self) -> ClientT:
        """The endpoint that the next request would go to now."""
        order = self._order()
        return self.clients[order[0] if order else 0]

    def reconnected(self, client: ClientT) -> None:
        """Take in that a line was opened again: another node may be at its end."""
        self._known.discard(self.clients.index(client))

    def distrust(self, client: ClientT, reason: str) -> None:
        """Leave an endpoint for a while whose answers contradict themselves or each other."""
        verdict = Verdict(reason, "use another endpoint")
        self._failed(self.clients.index(client), EndpointError(reason, verdict.hint, kind=Answer.WRONG))

    def wait_for(self, client: ClientT, limit: EndpointError) -> float | None:
        """Return the seconds to wait in the middle of a request before `client`, which has just asked for
        slower requests, is asked on; None to ask another endpoint, or when it takes too long."""
        index = self.clients.index(client)
        self._failed(index, limit)
        count, wait = self._selection.limits(index, self._monotonic())
        if self._order() or wait > self._rules.patience or count > _LIMITS_IN_A_ROW:
            return None
        return wait

    # ------------------------------------------------------------------ asking

    async def ask(self, request: Callable[[ClientT], Awaitable[ResultT]]) -> ResultT:
        """Return what `request` returns with the first endpoint that serves it.

        All that `request` asks goes to one endpoint: cursors and answers that must fit together are safe in
        it. What reading an answer breaks (KeyError, ValueError and the like) counts as a wrong answer.
        A `PortUnavailableError` sends the request to the next endpoint, other errors pass through: the chain
        has answered. An endpoint that asks for slower requests is waited for, `Rules.patience` at most
        without progress. Raises the last `PortUnavailableError`; a `PortError` when all are foreign.
        """
        await self._look()
        last: PortError | None = None
        tried: set[int] = set()
        since = self._monotonic()
        while True:
            progress = False
            for index in self._order():
                if index in tried:
                    continue
                tried.add(index)
                try:
                    return await self._serve(index, request)
                except DeepReorgError as error:
                    # Of one endpoint it proves nothing, when another one knows our blocks.
                    last = error
                    self.distrust(self.clients[index], error.message)
                except PortUnavailableError as error:
                    last = error
                    if isinstance(error, EndpointError) and error.kind is Answer.REFUSED:
                        raise
                    if isinstance(error, EndpointError) and error.progress:
                        since, tried, progress = self._monotonic(), {index}, True
            if progress:
                tried.clear()  # some of it was served and kept: the rest may be served as well
                continue
            wait = self._selection.wait(self._monotonic(), self._clock())
            if wait is None or self._monotonic() + wait > since + self._rules.patience:
                raise self._failure(last)
            await asyncio.sleep(wait)
            tried.clear()

    async def reread(self, work: Callable[[ClientT], Awaitable[ResultT]], moved: type[Exception]) -> ResultT:
        """Do as `ask`, and again while `work` raises `moved`: the chain has changed while it was read.

        After three tries the endpoint is taken to contradict itself, and the next one is asked.
        """
        return await self.ask(self._again(work, moved))

    def _again(
        self, work: Callable[[ClientT], Awaitable[ResultT]], moved: type[Exception]
    ) -> Callable[[ClientT], Awaitable[ResultT]]:
        async def again(client: ClientT) -> ResultT:
            for _ in range(_READINGS):
                try:
                    return await work(client)
                except moved:
                    await asyncio.sleep(_MOVED_PAUSE)
            raise EndpointError(
                f"{self.names[self.clients.index(client)]}: the chain keeps moving while it is read",
                "several nodes behind one URL, or history that it lacks? Use another endpoint",
                kind=Answer.WRONG,
            )

        return again

    async def agree(
        self,
        question: Callable[[ClientT], Awaitable[ResultT]],
        key: Callable[[ResultT], object] = lambda answer: answer,
        moved: type[Exception] | None = None,
        depth: Callable[[ResultT], int] = lambda _: 0,
    ) -> Agreement[ResultT]:
        """Return what two endpoints say to `question`; of a single one that is configured what it says.

        Answers are the same when their `key`s are; that of the smaller `depth` counts. Each is asked again
        while `question` raises `moved`, as `reread` does. Raises as `ask` does when nobody answers.
        """
        if moved is not None:
            question = self._again(question, moved)
        if self.only_one:
            return Agreed(await self.ask(question), 1)
        await self._look()
        answers: list[tuple[int, ResultT]] = []
        last: PortUnavailableError | None = None
        for index in self._order():
            try:
                answers.append((index, await self._serve(index, question)))
            except PortUnavailableError as error:
                last = error
            if len(answers) == 2:
                break
        if not answers:
            raise self._failure(last)
        (first, answer), *others = answers
        if not others:
            return NotAgreed(f"only {self.names[first]} answers, of {len(self.clients)} that are configured")
        ((second, confirmed),) = others
        if key(answer) != key(confirmed):
            return NotAgreed(f"{self.names[first]} and {self.names[second]} do not say the same")
        return Agreed(min(answer, confirmed, key=depth), 2)

    async def broadcast(
        self, send: Callable[[ClientT], Awaitable[BroadcastResult]], moved: type[Exception] | None = None
    ) -> BroadcastResult:
        """Send to all endpoints but foreign ones and return the best outcome (see `sending`).

        When one has taken it, the others are waited for a moment and then left to it in the background.
        Each is sent to again while `send` raises `moved`, as `reread` does. Raises the first
        `PortUnavailableError` when none answers.
        """
        if moved is not None:
            send = self._again(send, moved)
        now = self._monotonic()
        targets = [i for i in range(len(self.clients)) if self._selection.may_identify(i, now)]
        if not targets:
            raise self._failure(None)
        tasks = {asyncio.create_task(self._serve(index, send)) for index in targets}
        self._sending |= tasks
        for task in tasks:
            task.add_done_callback(self._sent)
        return await outcome_of(tasks)

    async def examine(self) -> tuple[Report, ...]:
        """Look at every endpoint now, and tell of each whether it may be asked. Raises nothing."""
        await asyncio.gather(*(self._look_at(index, anyway=True) for index in range(len(self.clients))))
        await self._compare_chains()
        now, clock = self._monotonic(), self._clock()
        reports = []
        for index, name in enumerate(self.names):
            head = self._selection.head(index)
            height = head.height if head else None
            reports.append(Report(name, self._selection.trouble(index, now, clock), height))
        return tuple(reports)

    async def close(self) -> None:
        """Close the connections, and end what is still being sent."""
        for task in (*self._sending, *((self._probing,) if self._probing else ())):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        self._probing = None
        self._known.clear()
        self._next_probe = float("-inf")
        for client in self.clients:
            await client.close()

    # ------------------------------------------------------------------ helpers

    def _order(self) -> tuple[int, ...]:
        return self._selection.order(self._monotonic(), self._clock())

    async def _serve(self, index: int, request: Callable[[ClientT], Awaitable[ResultT]]) -> ResultT:
        """Ask one endpoint, whose identity is known, and take in how that went."""
        await self._check(index)
        try:
            with reading(self.names[index]):
                result = await request(self.clients[index])
            await self._check(index)  # again, if the line was opened again meanwhile
        except PortUnavailableError as error:
            self._failed(index, error)
            raise
        except PortError:
            self._selection.served(index)
            raise
        self._selection.served(index)
        return result

    async def _check(self, index: int) -> None:
        if self._identify is None or index in self._known:
            return
        try:
            with reading(self.names[index]):
                try:
                    await self._identify(self.clients[index])
                except PortUnavailableError:
                    raise
                except PortError:
                    # One garbled answer must not bar an endpoint: it says so twice, or it is not foreign.
                    await self._identify(self.clients[index])
        except PortUnavailableError as error:
            self._failed(index, error)
            raise
        except PortError as error:
            self._selection.foreign(index, Verdict(error.message, error.hint), self._monotonic())
            self._foreign[index] = error
            raise EndpointError(
                f"{self.names[index]}: {error.message}", error.hint, kind=Answer.WRONG
            ) from error
        self._known.add(index)
        self._foreign.pop(index, None)
        self._selection.identified(index)

    def _failed(self, index: int, error: PortUnavailableError) -> None:
        kind = error.kind if isinstance(error, EndpointError) else Answer.PASSING
        if kind in {Answer.PASSING, Answer.WRONG}:
            self._known.discard(index)
        if self._foreign.get(index) is not None and not self._selection.may_identify(
            index, self._monotonic()
        ):
            return
        if isinstance(error, EndpointError) and error.progress:
            self._selection.served(index)
        retry_after = error.retry_after if isinstance(error, EndpointError) else None
        # The report names the endpoint itself.
        words = error.message.removeprefix(self.names[index]).lstrip(" :,")
        verdict = Verdict(words, error.hint)
        self._selection.failed(index, kind, verdict, self._monotonic(), retry_after)

    async def _look(self) -> None:
        """Compare the heads of all endpoints, when that is due and tells anything."""
        if self._head is None or (self.only_one and not self._rules.max_age):
            return
        if self._monotonic() >= self._next_probe and self._probing is None:
            self._next_probe = self._monotonic() + self._rules.probe_every
            self._probing = asyncio.create_task(self._look_at_all())
            self._probing.add_done_callback(self._looked)
            # A slow endpoint must not delay the others: only the first to look waits, and not for long.
            await asyncio.wait({self._probing}, timeout=_PROBE_PATIENCE)

    async def _look_at_all(self) -> None:
        await asyncio.gather(*(self._look_at(index) for index in range(len(self.clients))))
        await self._compare_chains()

    async def _compare_chains(self) -> None:
        """See whether those that are ahead have the chain of those that they leave behind."""
        if self._ancestry is None:
            return
        for higher, lower in self._selection.disputes(self._monotonic(), self._clock()):
            try:
                with reading(self.names[higher]):
                    shown = await self._ancestry.backs(self.clients[higher], self.clients[lower])
            except PortUnavailableError:
                shown = False
            if shown is not None:
                self._selection.backed(higher, lower, shown=shown)

    async def _look_at(self, index: int, *, anyway: bool = False) -> None:
        if not (anyway or self._selection.may_identify(index, self._monotonic())):
            return
        try:
            await self._check(index)
            if self._head is not None:
                with reading(self.names[index]):
                    head = await self._head(self.clients[index])
                self._selection.saw_head(index, head, self._monotonic())
        except PortUnavailableError as error:
            self._failed(index, error)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._probing = None
        if not task.cancelled():
            task.exception()

    def _sent(self, task: asyncio.Task[BroadcastResult]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            task.exception()

    def _failure(self, last: PortError | None) -> PortError:
        """Return why nobody could be asked: what is to be fixed first, else the last failure."""
        if len(self._foreign) == len(self.clients):
            return self._foreign[min(self._foreign)]
        if last is not None:
            return last
        now, clock = self._monotonic(), self._clock()
        troubles = [
            (name, trouble)
            for index, name in enumerate(self.names)
            if (trouble := self._selection.trouble(index, now, clock)) is not None
        ]
        return EndpointError(
            "; ".join(f"{name} {trouble.reason}" for name, trouble in troubles)
            or f"{self._network} is not there",
            "; ".join(dict.fromkeys(trouble.hint for _, trouble in troubles)) or "configure another endpoint",
        )
