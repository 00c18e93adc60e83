"""A database of the release before is brought up to date with all that is in it, and back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from bridge.chains.port import FeeEstimate, Tip
from bridge.protocol.types import Amount, BlockHeight, BlockRef, LegRole, Purpose, SwapId, UnixSeconds
from bridge.store import Store, migrations
from bridge.store.records import IntentState, PlannedIntent, SwapMeta
from tests import instances
from tests.unit.samples import swap


def _engine(url: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


def _move(url: str, revision: str) -> None:
    engine = _engine(url)
    with engine.connect() as opened:
        connection = opened.execution_options(rainbow_write=True)
        with connection.begin():
            made = migrations.config()
            made.attributes["connection"] = connection
            command.downgrade(made, revision)
    engine.dispose()


def _fill(url: str) -> None:
    """Swaps, an intent and a chain's status, as the release before wrote them."""
    store = Store.open(url)
    with store.transaction() as tx:
        for number in (0, 1):
            tx.swaps.add(swap(number), SwapMeta())
        planned = PlannedIntent(
            "swap0", Purpose.CLAIM, instances.ETHEREUM, LegRole.SOURCE.value, SwapId("swap0")
        )
        assert tx.intents.plan(planned)
    store.close()
    _move(url, "0001")
    engine = _engine(url)
    old_fees = {"lock": 1, "claim": 2, "refund": 3}
    with engine.begin() as connection:
        for row in connection.execute(text("SELECT id, snapshot FROM swaps")).all():
            old = json.loads(row.snapshot)
            for leg in ("source", "destination"):
                old[leg]["terms"].pop("lane", None)
            connection.execute(
                text("UPDATE swaps SET snapshot = :body WHERE id = :id"),
                {"body": json.dumps(old), "id": row.id},
            )
        connection.execute(
            text("INSERT INTO chain_status (chain, body, updated_ms) VALUES ('zion', :body, 1)"),
            {"body": json.dumps({"chain": "zion", "fees": {"zion:ZION": old_fees}})},
        )
    engine.dispose()


def test_an_upgrade_keeps_every_swap_and_intent_and_gives_them_no_lane(any_url: str) -> None:
    _fill(any_url)
    store = Store.open(any_url, secrets_key=bytes(32))
    with store.transaction() as tx:
        for number in (0, 1):
            stored = tx.swaps.get(SwapId(f"swap{number}"))
            assert stored is not None
            assert stored.swap == swap(number)
            assert stored.swap.destination.terms.lane == 0
        (intent,) = tx.intents.live(instances.ETHEREUM)
        assert (intent.state, intent.batch_leader) == (IntentState.PLANNED, None)
        assert tx.authorizations.get(SwapId("swap0")) == b""
        assert tx.swaps.lanes_in_use(swap(0).destination.terms.chain) == set()
        status = tx.chains.get(instances.ZION)
        assert status is not None
        fees = status.fees["zion:ZION"]
        assert (fees.refund, fees.minimum, fees.gasless_claim, fees.deposit) == (3, 0, 0, 0)
        # What keeps an intent from being made twice is still there.
        planned = PlannedIntent(
            "swap0", Purpose.CLAIM, instances.ETHEREUM, LegRole.SOURCE.value, SwapId("swap0")
        )
        assert not tx.intents.plan(planned)
    store.close()


def _recorded(url: str) -> None:
    """Transactions and statuses as revision 0002 wrote them."""
    store = Store.open(url)
    with store.transaction() as tx:
        planned = PlannedIntent(
            "swap0", Purpose.CLAIM, instances.ETHEREUM, LegRole.SOURCE.value, SwapId("swap0")
        )
        assert tx.intents.plan(planned)
        (intent,) = tx.intents.live(instances.ETHEREUM)
    store.close()
    _move(url, "0002")
    engine = _engine(url)
    insert = (
        "INSERT INTO transactions (intent_id, chain, tx_id, raw, account, sequence, fee, max_cost,"
        " valid_until, attempt, cancels, state, block_id, replaced_by, reason, signed_height, signed_ms)"
        " VALUES (:intent, 'ethereum', :tx_id, :raw, 'bridge', 7, :fee, '9',"
        " :until, 0, false, 'broadcast', '', '', '', 3, 4)"
    )
    tip = {"height": 9, "id": "b9", "parent": "b8", "time": 1_800_000_009}
    fees = {"zion:ZION": {"lock": 1, "claim": 2, "refund": 3}}
    statuses = {
        "ethereum": {"chain": "ethereum", "tip": tip, "time": 1_800_000_001, "scanned": 8, "healthy": True},
        "zion": {"chain": "zion", "tip": None, "time": 0, "fees": fees},
    }
    with engine.begin() as connection:
        for tx_id, until in OLD_VALIDITY.items():
            values = {"intent": intent.id, "tx_id": tx_id, "raw": b"raw", "fee": '{"fee":5}', "until": until}
            connection.execute(text(insert), values)
        for chain, body in statuses.items():
            connection.execute(
                text("INSERT INTO chain_status (chain, body, updated_ms) VALUES (:chain, :body, 1)"),
                {"chain": chain, "body": json.dumps(body)},
            )
    engine.dispose()


OLD_VALIDITY = {"never": None, "low": 0, "height": 999_999_999, "time": 1_000_000_000, "later": 1_800_000_180}


def test_until_when_a_transaction_can_land_becomes_a_height_or_a_time(any_url: str) -> None:
    _recorded(any_url)
    store = Store.open(any_url, secrets_key=bytes(32))
    with store.transaction() as tx:
        (intent,) = tx.intents.live(instances.ETHEREUM)
        signed = {one.tx_id: one.signed for one in tx.transactions.of_intent(intent.id)}
        assert {name: (one.valid_until_height, one.valid_until_time) for name, one in signed.items()} == {
            "never": (None, None),
            "low": (0, None),
            "height": (999_999_999, None),
            "time": (None, 1_000_000_000),
            "later": (None, 1_800_000_180),
        }
        assert {(one.raw, one.account, one.sequence, one.max_cost) for one in signed.values()} == {
            (b"raw", "bridge", 7, 9)
        }
        assert {one.fee["fee"] for one in signed.values()} == {5}
        statuses = tx.chains.all()
        tip = Tip(
            BlockRef(BlockHeight(9), "b9", "b8", UnixSeconds(1_800_000_009)), UnixSeconds(1_800_000_001)
        )
        assert (statuses[instances.ETHEREUM].tip, statuses[instances.ETHEREUM].time) == (tip, tip.time)
        assert (statuses[instances.ETHEREUM].scanned, statuses[instances.ETHEREUM].healthy) == (8, True)
        assert (statuses[instances.ZION].tip, statuses[instances.ZION].time) == (None, 0)
        assert statuses[instances.ZION].fees == {"zion:ZION": FeeEstimate(Amount(1), Amount(2), Amount(3))}
    store.close()


def test_a_downgrade_puts_height_and_time_together_again(any_url: str) -> None:
    _recorded(any_url)
    Store.open(any_url).close()
    _move(any_url, "0002")
    engine = _engine(any_url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT tx_id, valid_until FROM transactions")).all()
        assert {row.tx_id: row.valid_until for row in rows} == OLD_VALIDITY
        body = connection.execute(text("SELECT body FROM chain_status WHERE chain = 'ethereum'")).scalar_one()
        assert json.loads(body)["tip"]["height"] == 9
        assert json.loads(body)["time"] == 1_800_000_001
    engine.dispose()


def test_a_downgrade_keeps_the_indexes_that_money_depends_on(any_url: str) -> None:
    _fill(any_url)
    engine = _engine(any_url)
    with engine.connect() as connection:
        known = inspect(connection)
        (one_live,) = [i for i in known.get_indexes("intents") if i["name"] == "intents_one_live"]
        assert one_live["unique"]
        assert any("failed" in str(where) for where in one_live["dialect_options"].values())
        hashlocks = {tuple(c["column_names"]) for c in known.get_unique_constraints("swaps")}
        assert {("hashlock",), ("quote_id",)} <= hashlocks
        assert "lane" not in {c["name"] for c in known.get_columns("swaps")}
        kept = connection.execute(text("SELECT count(*) FROM swaps")).scalar_one()
    engine.dispose()
    assert kept == 2


def test_the_revisions_that_files_are_named_for_are_alembics_own() -> None:
    scripts = ScriptDirectory.from_config(migrations.config())
    assert [script.revision for script in scripts.walk_revisions()] == list(reversed(migrations.known()))
    assert scripts.get_current_head() == migrations.newest()


def test_opening_a_database_that_is_up_to_date_does_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bridge.db"
    Store.open(url, secrets_key=bytes(32)).close()
    code = (
        "import sys; from bridge.store import Store; "
        f"Store.open({url!r}, secrets_key=bytes(32)).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
