"""Keeping the contract from being archived: when, for how much, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.chains.actions import LockAction
from bridge.chains.errors import NothingToDoError, TooDearError
from bridge.chains.port import FeeLevel
from relayers.stellar.settings import FeeCaps
from tests.unit.stellar.conftest import Net


async def test_what_is_about_to_be_archived_is_kept_by_a_set_up_action(net: Net) -> None:
    net.node.network.settings = replace(net.node.network.settings, max_ttl=3_110_400)
    ours, theirs = await net.port("ours"), await net.port("theirs")
    await net.done(ours, LockAction(net.terms(ours, theirs)))
    assert await ours.setup_actions([]) == ()
    net.age_contracts(1_100_000)
    (action,) = await ours.setup_actions([])
    await net.done(ours, action)
    assert await ours.setup_actions([]) == ()
    with pytest.raises(NothingToDoError):
        await ours.prepare(action, await ours.next_sequence(), FeeLevel())


async def test_keeping_the_contract_alive_costs_no_more_in_a_day_than_its_budget(net: Net) -> None:
    net.node.network.settings = replace(net.node.network.settings, max_ttl=3_110_400)
    poor = await net.port("ours", more={"caps": FeeCaps(keeping=1)})
    await net.done(poor, LockAction(net.terms(poor, poor.account)))
    net.age_contracts(1_100_000)
    (action,) = await poor.setup_actions([])
    with pytest.raises(TooDearError, match="budget"):
        await poor.prepare(action, await poor.next_sequence(), FeeLevel())
    modest = await net.port("ours", more={"caps": FeeCaps(keeping=5_000_000)})
    before = await modest.balance(modest.account, net.settings().native)
    tx = await net.done(modest, action)
    assert before - await modest.balance(modest.account, net.settings().native) <= tx.max_cost < 5_010_000
    lives = {each.what: each for each in await modest.upkeep([])}
    code = lives.pop("the contract's code")
    assert code.seconds is not None
    assert all(each.seconds is not None and each.seconds > 100 * 86_400 for each in lives.values()), lives
    assert code.seconds < 60 * 86_400
    assert not code.trouble
    # Nobody raises the budget: a month before the end it is an alarm, and after it the fact is told.
    net.age_contracts(code.seconds // 5 - 400_000)
    (trouble,) = [each for each in await modest.upkeep([]) if each.trouble]
    assert trouble.what == "the contract's code"
    assert "max_keeping_per_day" in trouble.trouble
    net.age_contracts(500_000)
    (archived,) = [each for each in await modest.upkeep([]) if each.seconds is None]
    assert "archived" in archived.trouble
