"""Whole swaps over the REST API: a ZION node, anvil, `rainbow api` and two `rainbow relayer` processes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bridge import config
from bridge.chains.local import processes
from bridge.client.client import BridgeClient
from bridge.client.errors import UnsafeError
from bridge.client.recovery import LIGHT, RecoveryDir
from bridge.client.swap import LockWatch, UserSwap, UserWallet
from bridge.config import Settings
from bridge.keys.keystore import KeyLabel, devnet_key, write
from bridge.protocol.types import ChainId, LegState, SwapState
from bridge.wire.swaps import SwapView
from bridge.wiring.ports import open_port
from relayers.evm.devnet.anvil import AnvilDevnet
from relayers.zion.devnet.local import ZionDevnet
from tests import instances

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "e2e-" + "t" * 36
PASSWORD = "recovery password"
ETH, ZION = "ethereum:ETH", "zion:ZION"


class Stack:
    """Everything that runs, and the user's own lines to both chains."""

    def __init__(self, base: Path, settings: Settings, anvil: AnvilDevnet, zion: ZionDevnet) -> None:
        self.settings = settings
        self.url = ""
        self.anvil = anvil
        self.zion = zion
        self.recovery = RecoveryDir(base / "swaps")
        self.wallets = {
            chain: UserWallet(open_port(settings, chain, devnet_key(f"{chain}/user")))
            for chain in (instances.ETHEREUM, instances.ZION)
        }

    def client(self) -> BridgeClient:
        return BridgeClient(self.url, token=TOKEN)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    base = tmp_path_factory.mktemp("stack")
    anvil = AnvilDevnet(base / "anvil", block_time=1)
    zion = ZionDevnet(base / "zion", block_time=0.5)
    children: list[subprocess.Popen[bytes]] = []
    await asyncio.gather(anvil.start(), zion.start())
    try:
        home = base / "rainbow"
        made = rainbow(
            *("init", "--dir", str(home), "--api-port", "0", "--json"),
            *("--zion-rpc", zion.rpc_url, "--ethereum-rpc", anvil.rpc_url, "--ethereum-ws", anvil.ws_url),
        )
        accounts = json.loads(made.stdout)
        settings = config.load(home / "rainbow.toml")
        stack = Stack(base, settings, anvil, zion)
        assets = settings.assets_by_key()
        for devnet, key, amount in ((anvil, ETH, 100 * 10**18), (zion, ZION, 100_000 * 10**8)):
            chain = assets[key].chain
            await devnet.fund(accounts[f"{chain}_account"], assets[key], amount)
            await devnet.fund(stack.wallets[chain].address, assets[key], amount // 10)
        rainbow("db", "upgrade", "--config", str(home / "rainbow.toml"))
        for command in ("api", "relayer zion", "relayer ethereum"):
            log = base / f"{command.replace(' ', '-')}.log"
            argv = [sys.executable, "-m", "bridge.cli", *command.split(), "--json"]
            children.append(processes.spawn([*argv, "--config", str(home / "rainbow.toml")], log))
        stack.url = await announced(base / "api.log")
        await ready(stack)
        yield stack
        for wallet in stack.wallets.values():
            await wallet.port.close()
    finally:
        for child in children:
            processes.terminate(child)
        await asyncio.gather(anvil.stop(), zion.stop())


def rainbow(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "bridge.cli", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is check, done.stderr
    return done


async def announced(log: Path) -> str:
    async with asyncio.timeout(120):
        while True:
            for line in log.read_text().splitlines() if log.exists() else ():
                if line.startswith('{"url"'):
                    return str(json.loads(line)["url"])
            await asyncio.sleep(0.1)


async def ready(stack: Stack) -> None:
    async with asyncio.timeout(120), stack.client() as client:
        while not all(pair.available for pair in (await client.pairs()).pairs):
            await asyncio.sleep(0.2)


async def until(swap: UserSwap, *states: SwapState) -> SwapView:
    async with asyncio.timeout(90):
        while (view := await swap.status()).status not in states:
            await asyncio.sleep(0.2)
    return view


async def safe(swap: UserSwap, watch: LockWatch) -> None:
    async with asyncio.timeout(90):
        while not await swap.may_reveal_now(watch):
            await asyncio.sleep(0.2)


async def taken(swap: UserSwap) -> None:
    async with asyncio.timeout(90):
        while not await swap.bridge_takes_secret():
            await asyncio.sleep(0.2)


async def begin(
    stack: Stack, client: BridgeClient, source: ChainId, *, amount: int, gasless: bool
) -> UserSwap:
    destination = instances.ZION if source == instances.ETHEREUM else instances.ETHEREUM
    keys = {instances.ETHEREUM: ETH, instances.ZION: ZION}
    quote = await client.quote(keys[source], keys[destination], amount, gasless=gasless)
    return await UserSwap.begin(
        client,
        stack.recovery,
        quote,
        refund_address=stack.wallets[source].address,
        recipient=stack.wallets[destination].address,
        password=PASSWORD,
        public_key=(await client.key()).public_key,
        cost=LIGHT,
    )


async def test_eth_becomes_zion_and_the_relayer_claims_for_a_user_without_zion(stack: Stack) -> None:
    async with stack.client() as client:
        swap = await begin(stack, client, instances.ETHEREUM, amount=10**17, gasless=True)
        terms = swap.record.destination
        port = stack.wallets[instances.ZION].port
        before = await port.balance(terms.recipient, terms.asset)
        await swap.lock(stack.wallets[instances.ETHEREUM])
        watch = LockWatch(port, terms)
        await safe(swap, watch)
        await taken(swap)
        await swap.reveal_to_bridge(PASSWORD, watch)
        view = await until(swap, SwapState.COMPLETED)
        assert await port.balance(terms.recipient, terms.asset) == before + terms.amount
        assert view.source.state is LegState.CLAIM_FINAL


async def test_zion_becomes_eth_claimed_by_the_users_own_wallet_after_a_crash(stack: Stack) -> None:
    async with stack.client() as client:
        begun = await begin(stack, client, instances.ZION, amount=200 * 10**8, gasless=False)
        await begun.lock(stack.wallets[instances.ZION])
        # All that survives a crash is the recovery file.
        swap = UserSwap.resume(client, stack.recovery, stack.recovery.find(begun.id))
        port = stack.wallets[instances.ETHEREUM].port
        terms = swap.record.destination
        assert await swap.lock(stack.wallets[instances.ZION]) == begun.record.sent["lock"].tx_id
        watch = LockWatch(port, terms)
        await safe(swap, watch)
        await swap.claim(PASSWORD, watch, stack.wallets[instances.ETHEREUM])
        view = await until(swap, SwapState.COMPLETED)
        assert view.destination.spend_tx == swap.record.sent["claim"].tx_id


@pytest.mark.long
async def test_when_the_user_walks_away_both_get_their_own_back_after_the_deadlines(stack: Stack) -> None:
    async with stack.client() as client:
        swap = await begin(stack, client, instances.ETHEREUM, amount=10**17, gasless=True)
        wallet = stack.wallets[instances.ETHEREUM]
        await swap.lock(wallet)
        await until(swap, SwapState.AWAIT_CLAIM)
        watch = LockWatch(stack.wallets[instances.ZION].port, swap.record.destination)
        await safe(swap, watch)
        seconds = swap.record.source.deadline - (await wallet.port.tip()).time + 1
        await stack.zion.advance_time(seconds)
        with pytest.raises(UnsafeError):  # too late: the secret stays
            await swap.reveal_to_bridge(PASSWORD, watch)
        await stack.anvil.advance_time(seconds)
        await swap.refund(wallet)  # needs no bridge
        view = await until(swap, SwapState.REFUNDED)
        assert view.source.state is LegState.REFUND_FINAL
        assert view.destination.state is LegState.REFUND_FINAL


async def test_the_command_line_swaps_with_a_keystore_and_lets_the_relayer_claim(
    stack: Stack, tmp_path: Path
) -> None:
    keystore, password = tmp_path / "ethereum.json", tmp_path / "password"
    password.touch(0o600)
    password.write_text("user's password")
    label = KeyLabel("ethereum/user", "dev", "", devnet=True)
    write(keystore, devnet_key("ethereum/user"), "user's password", label, light=True)
    wallets = stack.wallets
    shared = ("--recovery-dir", str(tmp_path / "swaps"), "--password-file", str(password), "--json")
    config_file = ("--config", str(stack.settings.data_dir.parent / "rainbow.toml"), "--api", stack.url)

    def swap(*arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(rainbow("swap", *arguments, *shared, *config_file).stdout)
        return answer

    sender, recipient = wallets[instances.ETHEREUM].address, wallets[instances.ZION].address
    keys = ("--keystore", str(keystore), "--keystore-password-file", str(password))
    to = ("--recipient", recipient)
    wrong, stranger = tmp_path / "wrong", f"0x{'11' * 20}"
    wrong.touch(0o600)
    wrong.write_text("another password")
    # Nothing is placed at the bridge, and no recovery file is made, before what can be known is known.
    for refused, arguments in {
        "does not open": ("0.05", *keys[:3], str(wrong), "--refund-address", sender),
        f"not to the refund address {stranger}": ("0.05", *keys, "--refund-address", stranger),
    }.items():
        answer = await asyncio.to_thread(
            rainbow, "swap", "start", ETH, ZION, *arguments, *to, *shared, *config_file, check=False
        )
        assert refused in answer.stderr
        assert not (tmp_path / "swaps").exists()

    begun = await asyncio.to_thread(
        swap, "start", ETH, ZION, "0.05", "--gasless", *keys, "--refund-address", sender.lower(), *to
    )
    assert begun["lock_tx"].startswith("0x")
    directory = (*shared[:2], "--json")
    again = await asyncio.to_thread(rainbow, "swap", "lock", begun["id"][:8], *keys, *directory, *config_file)
    assert json.loads(again.stdout)["lock_tx"] == begun["lock_tx"]
    claimed = await asyncio.to_thread(swap, "claim", begun["id"][:8], "--relayed")
    assert claimed["id"] == begun["id"]
    async with stack.client() as client:
        async with asyncio.timeout(90):
            while (view := await client.swap(begun["id"])).status is not SwapState.COMPLETED:
                await asyncio.sleep(0.2)
    assert view.destination.state is LegState.CLAIM_FINAL


async def test_no_process_wrote_a_secret_to_its_log(stack: Stack) -> None:
    base = stack.settings.data_dir.parent.parent
    records = stack.recovery.readable()[0]
    assert records
    for record in records:
        secret = record.preimage(PASSWORD).reveal().hex()
        for log in base.glob("*.log"):
            text = log.read_text()
            assert secret not in text, log
            assert record.swap_id not in (base / "api.log").read_text()
