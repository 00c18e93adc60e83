"""In a terminal of 80 columns words may wrap, but no number and no id does: all can be copied whole."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

import bridge.commands
from bridge.commands.check import Finding, Level, _line
from bridge.commands.output import Output, aligned
from bridge.config import to_text
from bridge.demo.accounting import Snapshot, audit, balances_table
from bridge.demo.board import Board, SwapCard
from bridge.demo.plans import ASSETS, BRIDGE_MONEY, CIRCLE

WIDTH = 80
SOLANA_ID = "5" * 88
EVM_ID = "0x" + "ab" * 32
ADDRESS = "addr_test1" + "q" * 98


def shown(what: Board | RenderableType) -> list[str]:
    """The lines that a terminal as wide as that gets."""
    file = io.StringIO()
    console = Console(file=file, width=WIDTH, force_terminal=True, color_system=None)
    if isinstance(what, Board):
        what.show_closing(console)
    else:
        console.print(what)
    return file.getvalue().splitlines()


def card(name: str, route: str) -> SwapCard:
    made = SwapCard(name, route, "completed", swap_id="0" * 32)
    made.sends = "1000.123456789012345678 ETH"
    made.receives = "99999.12345678 ZION"
    made.begin()
    stages = ("accepted", "lock sent", "lock verified", "secret handed over", "own refund sent", "completed")
    made.stages = [(stage, 1234.5 * number) for number, stage in enumerate(stages, 1)]
    made.status = stages[-1]
    made.note = (
        "the way cost 0.987654321987654321 ETH, 12.3 %; 0.1 ETH, 0.05 SOL, 10 XLM, 20 ADA were kept for gas"
    )
    for what, tx_id in (("bridge's lock's refund", SOLANA_ID), ("user's lock", EVM_ID)):
        made.transactions.append(
            {"chain": "ethereum", "what": what, "tx_id": tx_id, "confirmations": "123456"}
        )
    made.finish(True, "")
    made.started, made.ended = 0.5, 1234.6
    return made


@pytest.fixture
def board() -> Board:
    board = Board(Console(), silent=True)
    board.add(card("frank", "Stellar asset → ERC-20"))
    board.add(card(CIRCLE.name, " → ".join(asset.symbol for asset in CIRCLE.route)))
    return board


def test_the_closing_tables_of_the_demo_break_no_number_and_no_id(board: Board) -> None:
    lines = shown(board)
    text = "\n".join(lines)
    for whole in ("1000.123456789012345678 ETH", "99999.12345678 ZION", "1234.1", "123456 confirmations"):
        assert text.count(whole) >= 2, whole
    assert text.count("0.987654321987654321") == 2
    assert lines.count(SOLANA_ID) == 2
    assert lines.count(EVM_ID) == 2
    assert max(len(line.rstrip()) for line in lines if line != SOLANA_ID) <= WIDTH
    for name, spent in board.cards[0].stage_durations():
        assert f"{name} {spent:.1f}" in " ".join(text.split())


def test_the_live_rows_of_the_demo_take_one_line_each(board: Board) -> None:
    lines = shown(board.render())
    assert len(lines) == 3
    assert max(map(len, lines)) <= WIDTH


def test_the_balances_of_the_demo_break_no_number() -> None:
    before = {
        (asset.key, owner): 10 * BRIDGE_MONEY[asset] - 1 for asset in ASSETS for owner in ("bridge", "frank")
    }
    after = {key: amount // 7 for key, amount in before.items()}
    snapshots = Snapshot(before), Snapshot(after)
    audits = {asset.key: audit(asset, *snapshots, fees=12345) for asset in ASSETS}
    lines = shown(balances_table(list(ASSETS), *snapshots, audits))
    text = "\n".join(lines)
    for asset in ASSETS:
        one, other = before[asset.key, "bridge"], after[asset.key, "bridge"]
        for amount in (one, other, other - one):
            assert text.count(to_text(amount, asset.decimals)) >= 2, asset
    assert max(map(len, lines)) <= WIDTH


def test_what_commands_print_is_never_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    finding = Finding("cardano", Level.FAIL, f"{ADDRESS} holds 0.000001 ADA", f"send ADA to {ADDRESS}")
    quote = aligned([("you pay", f"1000.123456789012345678 ethereum:{EVM_ID}"), ("refundable from", "noon")])
    Output(as_json=False).result({}, _line(finding), quote, f"claimed by {SOLANA_ID}")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"fail  cardano: {ADDRESS} holds 0.000001 ADA",
        f"      → send ADA to {ADDRESS}",
        f"you pay          1000.123456789012345678 ethereum:{EVM_ID}",
        "refundable from  noon",
        f"claimed by {SOLANA_ID}",
    ]


def test_no_command_prints_a_table() -> None:
    """A table cuts or breaks what is wider than its column; `aligned` does not."""
    commands = Path(bridge.commands.__file__).parent
    assert [path.name for path in commands.glob("*.py") if "rich.table" in path.read_text()] == []
