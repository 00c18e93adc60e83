"""A token's decimals are compared with what its chain, or its chain's registry, says of them: a wrong number
in the configuration would make every amount wrong by powers of ten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from bridge.chains.actions import LockAction
from bridge.chains.errors import PortError, PortUnavailableError
from bridge.chains.port import FeeLevel
from bridge.protocol.types import Preimage
from tests.conformance.conftest import Rigs
from tests.conformance.rig import Scene

SECRET = Preimage(b"a secret that no decimals change")


@pytest.mark.parametrize("chain", ["ethereum", "solana", "cardano"])
async def test_other_decimals_than_the_chains_are_refused_and_said(rigs: Rigs, chain: str) -> None:
    rig: Any = await rigs.get(chain)
    scene = Scene(rig, f"decimals/{chain}")
    theirs, right = await scene.port("user"), rig.token
    port = rig.port("decimals/afresh")
    wrong = msgspec.structs.replace(right, decimals=right.decimals + 3)
    terms = await scene.terms(port, theirs, SECRET, asset=wrong)
    asks: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: port.setup_actions([wrong]),
        lambda: port.fees(wrong),
        lambda: port.prepare(LockAction(terms), 0, FeeLevel()),
    )
    for ask in asks:
        with pytest.raises(PortError, match=f"{right.decimals} decimals") as refusal:
            await ask()
        assert not isinstance(refusal.value, PortUnavailableError)
        assert "decimals" in refusal.value.hint
    await port.setup_actions([right])
    assert (await port.fees(right)).lock > 0


async def test_your_own_cardano_node_knows_no_registry_and_believes_the_configuration(rigs: Rigs) -> None:
    rig: Any = await rigs.get("cardano_own_node")
    other = msgspec.structs.replace(rig.token, decimals=rig.token.decimals + 3)
    assert (await rig.port("decimals/believing").fees(other)).lock > 0
