"""Applies events to swaps and executes effects: ingest, outbox, reconcile, inventory."""
