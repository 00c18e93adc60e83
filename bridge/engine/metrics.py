"""The relayers' metrics for Prometheus. One `Metrics` per process, or one per test with its own registry."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The counters and gauges of the engine and the workers; labels never hold a secret or an address."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self.blocks = Counter("rainbow_blocks_total", "Blocks scanned", ["chain"], registry=registry)
        self.orphaned = Counter(
            "rainbow_orphaned_blocks_total", "Blocks that a reorg removed", ["chain"], registry=registry
        )
        self.scanned = Gauge(
            "rainbow_scanned_height", "Height up to which events were stored", ["chain"], registry=registry
        )
        self.tip_lag = Gauge(
            "rainbow_scan_lag_blocks",
            "Blocks between the tip and the scanned height",
            ["chain"],
            registry=registry,
        )
        self.healthy = Gauge(
            "rainbow_chain_healthy",
            "1 if the chain's RPC answers and its answers make sense",
            ["chain"],
            registry=registry,
        )
        self.signed = Counter(
            "rainbow_transactions_signed_total",
            "Transactions signed",
            ["chain", "purpose"],
            registry=registry,
        )
        self.broadcasts = Counter(
            "rainbow_broadcasts_total",
            "Broadcasts by outcome",
            ["chain", "purpose", "outcome"],
            registry=registry,
        )
        self.replacements = Counter(
            "rainbow_replacements_total",
            "Transactions replaced with a higher fee",
            ["chain"],
            registry=registry,
        )
        self.finished = Counter(
            "rainbow_intents_finished_total", "Intents by how they ended", ["chain", "purpose", "state"],
            registry=registry,
        )  # fmt: skip
        self.errors = Counter(
            "rainbow_worker_errors_total", "Errors by kind", ["chain", "kind"], registry=registry
        )
        self.unknown_locks = Gauge(
            "rainbow_unknown_locks",
            "Locks of our account that no swap knows: the database is older than the chain",
            ["chain"],
            registry=registry,
        )
        self.restoring = Gauge(
            "rainbow_swaps_restoring",
            "Lost swaps whose history is being read again",
            ["chain"],
            registry=registry,
        )
        self.plan_to_broadcast = Histogram(
            "rainbow_plan_to_broadcast_seconds",
            "From the stored intent to its first broadcast",
            ["chain", "purpose"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=registry,
        )
        self.set_aside = Gauge(
            "rainbow_items_set_aside",
            "Items of scanned blocks that could not be read so far",
            ["chain"],
            registry=registry,
        )
        self.disagreements = Counter(
            "rainbow_lock_disagreements_total",
            "Direct readings of our locks that do not bear out what was scanned, by what they said",
            ["chain", "said"],
            registry=registry,
        )
        self.upkeep = Gauge(
            "rainbow_upkeep_seconds",
            "How long what must be kept alive on a chain lives yet, looked at once a day; 0: it is archived",
            ["chain", "what"],
            registry=registry,
        )
        self.balance = Gauge(
            "rainbow_balance_units",
            "The bridge's balance, smallest units",
            ["chain", "asset"],
            registry=registry,
        )
