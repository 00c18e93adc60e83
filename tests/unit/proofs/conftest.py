"""A dev chain for bundles, and both kinds of database for the log."""

from __future__ import annotations

from tests.unit.chain.conftest import box
from tests.unit.store.conftest import any_store, any_url, clock, postgres_urls

__all__ = ["any_store", "any_url", "box", "clock", "postgres_urls"]
