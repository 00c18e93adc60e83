"""`rainbow check` and endpoints: a line for each bad one, and a warning where there is only one."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.chains.endpoints.reports import Report
from bridge.chains.endpoints.selection import Verdict
from bridge.commands.check import Level, _endpoints
from bridge.config import Network
from bridge.protocol.types import ChainId

ZION = ChainId("zion")
NAMES = [f"the ZION node, endpoint {at} of 2 (node{at}.example)" for at in (1, 2)]
SOUND = [Report(name, None, 100) for name in NAMES]
BEHIND = Verdict("is 12 blocks behind the others, at 88", "use another one until it has caught up")


class Port:
    def __init__(self, *reports: Report) -> None:
        self.reports = reports

    async def examine(self) -> tuple[Report, ...]:
        return self.reports


def settings(network: Network) -> Any:
    class Chains:
        @staticmethod
        def get(chain: ChainId) -> Any:
            class Section:
                nodes_key = "rpc_urls"

            return Section

    class Known:
        chains = Chains

    known: Any = Known()
    known.network = network
    return known


async def lines(network: Network, *reports: Report) -> list[tuple[str, Level, str, str]]:
    port: Any = Port(*reports)
    found = await _endpoints(settings(network), ZION, port)
    return [(one.what, one.level, one.detail, one.hint) for one in found]


async def test_a_bad_endpoint_gets_a_line_that_names_it_and_says_what_to_do() -> None:
    assert await lines(Network.MAIN, Report(NAMES[0], BEHIND, 88), SOUND[1]) == [
        (
            "zion endpoint",
            Level.WARN,
            "the ZION node, endpoint 1 of 2 (node1.example) is 12 blocks behind the others, at 88",
            "use another one until it has caught up",
        )
    ]


async def test_when_no_endpoint_is_left_it_has_failed() -> None:
    found = await lines(Network.MAIN, *(Report(name, BEHIND) for name in NAMES))
    assert [level for _, level, _, _ in found] == [Level.FAIL, Level.FAIL]


async def test_sound_endpoints_are_counted() -> None:
    found = await lines(Network.MAIN, *SOUND)
    assert found == [("zion endpoint", Level.OK, "2 of 2 in good standing", "")]


@pytest.mark.parametrize("network", [Network.MAIN, Network.TEST])
async def test_a_single_endpoint_is_warned_of_where_money_moves(network: Network) -> None:
    ((what, level, detail, hint),) = await lines(network, SOUND[0])
    assert (what, level) == ("zion endpoint", Level.WARN)
    assert detail == "only one is configured: nobody can contradict it"
    assert "chains.zion.rpc_urls" in hint


async def test_local_chains_do_with_one() -> None:
    assert (await lines(Network.DEV, SOUND[0]))[0][1] is Level.OK


async def test_a_port_that_cannot_tell_is_not_asked() -> None:
    port: Any = object()
    assert await _endpoints(settings(Network.MAIN), ZION, port) == []
