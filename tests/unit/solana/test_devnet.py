"""The local chain as the demo uses it: it survives a kill, funds accounts, and its books add up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from bridge.chains.actions import Action, ClaimAction, LockAction, RefundAction
from bridge.chains.errors import PortUnavailableError
from bridge.chains.family import LOCKS
from bridge.chains.port import BroadcastOutcome, FeeLevel, LockStatus, SignedTx, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, Asset, BlockHeight, LockTerms, Preimage, UnixSeconds
from relayers.solana import program
from relayers.solana.accounting import DEPOSITS, SolanaLedger
from relayers.solana.adapter import SolanaPort, open_port
from relayers.solana.devnet.local import DEMO_TOKEN, SolanaDevnet
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.settings import SOL

SECRET = Preimage(b"a preimage for the local chain..")


def terms_of(sender: SolanaPort, recipient: SolanaPort, asset: Asset, amount: int, until: int) -> LockTerms:
    return LockTerms(
        chain=sender.chain,
        contract=sender.contract,
        sender=sender.account,
        recipient=recipient.account,
        asset=asset,
        amount=Amount(amount),
        hashlock=SECRET.hashlock(),
        deadline=UnixSeconds(until),
    )


async def sent(port: SolanaPort, action: Action, level: FeeLevel = FeeLevel()) -> SignedTx:
    tx = await port.prepare(action, None, level)
    assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    return tx


async def test_a_killed_chain_goes_on_with_its_blocks_and_what_was_waiting(tmp_path: Path) -> None:
    devnet = await SolanaDevnet(tmp_path).start()
    port = open_port(devnet.settings, devnet_key("killed"))
    await devnet.fund(port.account, SOL, 10**10)
    await devnet.fund(port.account, DEMO_TOKEN, 700)
    await devnet.skip(3)
    await devnet.mine(3)
    await devnet.reorg(2)
    before = await port.tip()
    terms = terms_of(port, port, SOL, 10**9, before.time + 50)
    lock = await sent(port, LockAction(terms))
    devnet.kill()
    with pytest.raises(PortUnavailableError):
        await port.tip()
    journal = tmp_path / "journal.jsonl"
    with journal.open("a") as file:
        file.write('{"op": "block", "ti')  # it died while it wrote
    await devnet.restart()
    assert await port.tip() == before
    await devnet.mine(1)
    assert (await port.tx_status(lock)).state is TxState.INCLUDED
    await devnet.fund(port.account, SOL, 5)  # the treasury's own count goes on, too
    await devnet.fund(port.account, SOL, 5)
    devnet.kill()
    await devnet.restart()
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.OPEN
    assert await port.balance(port.account, DEMO_TOKEN) == 700
    await port.close()
    await devnet.stop()


async def test_the_killed_chains_clock_goes_on_where_it_was_moved_to(tmp_path: Path) -> None:
    devnet = await SolanaDevnet(tmp_path, block_time=0.1).start()
    port = open_port(devnet.settings, devnet_key("clock"))
    await devnet.advance_time(5_000)
    later = await port.tip()
    devnet.kill()
    await devnet.restart()
    await asyncio.sleep(0.5)
    last = await port.tip()
    assert last.block.height > later.block.height
    assert later.time <= last.time < later.time + 60
    await port.close()
    await devnet.stop()


async def test_the_books_add_up_to_the_lamport() -> None:
    node = await SolanaNode().start()
    await node.mine(40)
    alice, bob = (open_port(node.settings, devnet_key(f"books/{name}")) for name in ("alice", "bob"))
    books = SolanaLedger(node.settings)
    watched = {"alice": alice.account, "bob": bob.account}
    for port in (alice, bob):
        await node.fund(port.account, SOL, 10**10)
    await node.fund(alice.account, DEMO_TOKEN, 10**6)
    before = {asset: await books.holdings(watched, asset) for asset in (SOL, DEMO_TOKEN)}
    since = (await alice.tip()).block.height
    assert before[DEMO_TOKEN] == {"alice": 10**6, "bob": 0, LOCKS: 0}

    async def adds_up() -> dict[str, Amount]:
        now = await books.holdings(watched, SOL)
        until = (await alice.tip()).block.height
        fees = await books.fees_paid(set(watched.values()), BlockHeight(since + 1), until)
        assert sum(now.values()) + fees == sum(before[SOL].values())
        tokens = await books.holdings(watched, DEMO_TOKEN)
        assert sum(tokens.values()) == sum(before[DEMO_TOKEN].values())
        return now

    until = node.ledger.head.time + 1_000
    coins, tokens = terms_of(alice, bob, SOL, 10**9, until), terms_of(alice, bob, DEMO_TOKEN, 400, until)
    for terms in (coins, tokens):
        await sent(alice, LockAction(terms))
    await node.mine(1)
    now = await adds_up()
    assert now[LOCKS] == 10**9
    assert now[DEPOSITS] > before[SOL][DEPOSITS]
    assert (await books.holdings(watched, DEMO_TOKEN))[LOCKS] == 400
    for terms in (coins, tokens):
        await sent(bob, ClaimAction(terms, SECRET))
    late = await sent(alice, ClaimAction(coins, SECRET))
    await node.mine(1)
    assert (await bob.tx_status(late)).state is TxState.FAILED  # and paid its fee
    now = await adds_up()
    assert now[LOCKS] == 0
    made = program.token_account(Pubkey.from_string(bob.account), Pubkey.from_string(DEMO_TOKEN.contract))
    account = node.ledger.account(made)
    assert account is not None
    assert now[DEPOSITS] == before[SOL][DEPOSITS] + account.lamports
    again = terms_of(alice, bob, SOL, 5 * 10**8, until)
    await sent(alice, LockAction(again))
    await node.mine(1)
    await node.advance_time(2_000)
    await sent(bob, RefundAction(again))
    await node.mine(1)
    await adds_up()
    for port in (alice, bob):
        await port.close()
    await books.close()
    await node.stop()
