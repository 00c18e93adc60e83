"""Hostile chains: whatever a ledger accepts is read as what it is."""
