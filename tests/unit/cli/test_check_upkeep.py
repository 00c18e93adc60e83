"""`rainbow check` and the relayer tell of what a chain forgets unless somebody pays for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from bridge.chains.actions import ApproveAction
from bridge.chains.upkeep import Kept
from bridge.commands.check import Level, _upkeep
from bridge.engine.metrics import Metrics
from bridge.protocol.types import Address, Asset, ChainId
from bridge.store import Store
from relayers.daemon.account_actions import AccountActions

CHAIN = ChainId("stellar")
DAY = 86_400


class Port:
    chain = CHAIN
    account = Address("an account")

    def __init__(self, *kept: Kept) -> None:
        self._kept = kept

    async def upkeep(self, assets: Sequence[Asset]) -> tuple[Kept, ...]:
        return self._kept

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[ApproveAction, ...]:
        return ()


class OtherPort:
    """Of a chain that forgets nothing."""


async def found(*kept: Kept) -> list[tuple[Level, str]]:
    port: Any = Port(*kept)
    return [(each.level, each.detail) for each in await _upkeep("stellar", port, [])]


async def test_check_tells_how_long_everything_lives_and_what_is_in_trouble() -> None:
    code, gone = Kept("the code", 100 * DAY), Kept("the balance", None, "it is archived")
    assert await found(code, Kept("the instance", 90 * DAY + 5)) == [
        (Level.OK, "everything lives 90 days yet, and is renewed")
    ]
    late = Kept("the code", 20 * DAY, "nobody extends it")
    assert await found(late, gone) == [
        (Level.WARN, "the code: nobody extends it"),
        (Level.WARN, "the balance: it is archived"),
    ]
    other: Any = OtherPort()
    assert await _upkeep("zion", other, []) == []


async def test_the_relayer_measures_it_once_a_day(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    port: Any = Port(Kept("the code", 100 * DAY), Kept("the balance", None, "it is archived"))
    store = Store.open(f"sqlite:///{tmp_path}/bridge.db", secrets_key=bytes(32))
    actions = AccountActions(port, store, (), None, Metrics(registry))
    await actions.set_up()
    store.close()
    told = {
        what: registry.get_sample_value("rainbow_upkeep_seconds", {"chain": CHAIN, "what": what})
        for what in ("the code", "the balance")
    }
    assert told == {"the code": 100 * DAY, "the balance": 0}
