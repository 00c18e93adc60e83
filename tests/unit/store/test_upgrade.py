"""A database of the release before is brought up to date with all that is in it, and back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from bridge.protocol.types import LegRole, Purpose
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
            step = command.downgrade if revision == "0001" else command.upgrade
            step(made, revision)
    engine.dispose()


def _fill(url: str) -> None:
    """Swaps, an intent and a chain's status, as the release before wrote them."""
    store = Store.open(url)
    with store.transaction() as tx:
        for number in (0, 1):
            tx.swaps.add(swap(number), SwapMeta())
        planned = PlannedIntent("swap0", Purpose.CLAIM, instances.ETHEREUM, LegRole.SOURCE.value, "swap0")
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
            stored = tx.swaps.get(f"swap{number}")
            assert stored is not None
            assert stored.swap == swap(number)
            assert stored.swap.destination.terms.lane == 0
        (intent,) = tx.intents.live(instances.ETHEREUM)
        assert (intent.state, intent.batch_leader) == (IntentState.PLANNED, None)
        assert tx.authorizations.get("swap0") == b""
        assert tx.swaps.lanes_in_use(swap(0).destination.terms.chain) == set()
        status = tx.chains.get(instances.ZION)
        assert status is not None
        fees = status.fees["zion:ZION"]
        assert (fees.refund, fees.minimum, fees.gasless_claim, fees.deposit) == (3, 0, 0, 0)
        # What keeps an intent from being made twice is still there.
        planned = PlannedIntent("swap0", Purpose.CLAIM, instances.ETHEREUM, LegRole.SOURCE.value, "swap0")
        assert not tx.intents.plan(planned)
    store.close()


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
