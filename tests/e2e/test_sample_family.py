"""A family from another distribution: installed, configured with `rainbow init`, it swaps with ZION, and no
line of ours names it."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bridge import config
from bridge.chains.local import processes
from bridge.client.client import BridgeClient
from bridge.client.recovery import LIGHT, RecoveryDir
from bridge.client.swap import LockWatch, UserSwap, UserWallet
from bridge.keys.keystore import devnet_key
from bridge.protocol.types import Amount, ChainId, LegState, SwapState
from bridge.wiring.local_chains import make
from bridge.wiring.ports import open_port
from tests.e2e.test_api_swap import PASSWORD, announced, rainbow, safe, taken, until

ROOT = Path(__file__).parents[2]
SAMPLE, ZION = ChainId("sample"), ChainId("zion")
SEEN = re.compile(r"sample_?chain|(?<!\bb)[\"']sample[\"']|\[chains\.sample\]")
MAY_IMPORT = ("bridge.chains", "bridge.keys", "bridge.protocol")
RIG_MAY_IMPORT = (*MAY_IMPORT, "tests.conformance.rig")


class Stack:
    """The API's address, and the user's wallets and recovery files."""

    def __init__(self, url: str, wallets: dict[ChainId, UserWallet], recovery: RecoveryDir) -> None:
        self.url = url
        self.wallets = wallets
        self.recovery = recovery


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    base = tmp_path_factory.mktemp("stack")
    local = make({ZION: "zion", SAMPLE: "sample"}, base)
    children: list[subprocess.Popen[bytes]] = []
    wallets: dict[ChainId, UserWallet] = {}
    await asyncio.gather(*(each.node.start() for each in local.values()))
    try:
        home = base / "rainbow"
        file = str(home / "rainbow.toml")
        made = rainbow(
            *("init", "--dir", str(home), "--api-port", "0", "--json", "--zion-rpc", local[ZION].url),
            *("--chain", "sample=sample", "--set", f"sample.rpc={local[SAMPLE].url}"),
        )
        settings = config.load(Path(file))
        for chain, each in local.items():
            wallets[chain] = UserWallet(open_port(settings, chain, devnet_key(f"{chain}/user")))
            coin = each.assets.native
            for account in (json.loads(made.stdout)[f"{chain}_account"], wallets[chain].address):
                await each.node.fund(account, coin, Amount(10_000 * 10**coin.decimals))
        rainbow("db", "upgrade", "--config", file)
        for command in ("api", "relayer zion", "relayer sample"):
            log = base / f"{command.replace(' ', '-')}.log"
            argv = [sys.executable, "-m", "bridge.cli", *command.split(), "--json", "--config", file]
            children.append(processes.spawn(argv, log))
        url = await announced(base / "api.log")
        async with asyncio.timeout(120), BridgeClient(url, token="s" * 40) as client:
            coins = {each.assets.native.key for each in local.values()}  # nothing runs for the others
            while not all(
                pair.available
                for pair in (await client.pairs()).pairs
                if {pair.source.asset, pair.destination.asset} == coins
            ):
                await asyncio.sleep(0.2)
        yield Stack(url, wallets, RecoveryDir(base / "swaps"))
    finally:
        for wallet in wallets.values():
            await wallet.port.close()
        for child in children:
            processes.terminate(child)
        await asyncio.gather(*(each.node.stop() for each in local.values()))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("source", "destination", "whole", "gasless"),
    [
        pytest.param(
            "sample:SMP", "zion:ZION", 20 * 10**6, True, id="sample to ZION", marks=pytest.mark.long
        ),
        pytest.param("zion:ZION", "sample:SMP", 20 * 10**8, False, id="ZION to sample"),
    ],
)
async def test_a_swap_completes(
    stack: Stack, source: str, destination: str, whole: int, gasless: bool
) -> None:
    pays, gets = (stack.wallets[ChainId(key.partition(":")[0])] for key in (source, destination))
    async with BridgeClient(stack.url, token="s" * 40) as client:
        quote = await client.quote(source, destination, whole, gasless=gasless)
        swap = await UserSwap.begin(
            client,
            stack.recovery,
            quote,
            refund_address=pays.address,
            recipient=gets.address,
            password=PASSWORD,
            public_key=(await client.key()).public_key,
            cost=LIGHT,
        )
        terms = swap.record.destination
        before = await gets.port.balance(terms.recipient, terms.asset)
        await swap.lock(pays)
        watch = LockWatch(gets.port, terms)
        await safe(swap, watch)
        if gasless:
            await taken(swap)
            await swap.reveal_to_bridge(PASSWORD, watch)
        else:
            await swap.claim(PASSWORD, watch, gets)
        view = await until(swap, SwapState.COMPLETED)
        gained = await gets.port.balance(terms.recipient, terms.asset) - before
        assert terms.amount - (0 if gasless else 1_000) == gained
        assert view.source.state is LegState.CLAIM_FINAL


def test_no_line_of_ours_names_it() -> None:
    files = [
        path
        for package in ("bridge", "relayers", "chain", "kernels")
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".toml", ".json", ".html", ".js"}
    ]
    assert len(files) > 100
    assert [str(path) for path in files if SEEN.search(path.read_text(encoding="utf-8"))] == []
    assert SEEN.search((ROOT / "tests/sample_chain/samplechain/plugin.py").read_text()), "the search finds it"


def test_it_sees_the_bridge_through_three_packages_alone() -> None:
    files = sorted((ROOT / "tests/sample_chain/samplechain").glob("*.py"))
    assert len(files) >= 6
    for path in files:
        allowed = RIG_MAY_IMPORT if path.name == "rig.py" else MAY_IMPORT
        for name in imported(path):
            if name.partition(".")[0] in {"bridge", "relayers", "chain", "kernels", "tests", "scripts"}:
                assert any(name == each or name.startswith(f"{each}.") for each in allowed), (path, name)


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found
