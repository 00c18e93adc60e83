"""Metrics for Prometheus: requests as they happen; swaps and chains as stored at scrape time."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.desk.inventory import Inventory
from bridge.protocol.types import SwapState
from bridge.store import Store, StoreError
from bridge.store.records import SwapEvent

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
STAGE_BUCKETS = (
    0.5,
    1,
    2,
    5,
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    1_200,
    1_800,
    3_600,
    7_200,
    14_400,
    28_800,
    86_400,
)


class Metrics:
    """One registry per application, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "rainbow_http_request_seconds",
            "Time to serve a request",
            ("method", "route", "status"),
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "rainbow_swap_stage_seconds",
            "How long swaps stayed in a status, observed when they left it",
            ("stage",),
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self._refusals = Counter(
            "rainbow_refusals", "Requests refused, by kind of problem", ("kind",), registry=self.registry
        )
        self.streams = Gauge(
            "rainbow_event_streams", "Open WebSocket and SSE streams", registry=self.registry
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is the template, so that labels stay few."""
        known = method if method in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)

    def refusal(self, kind: str) -> None:
        """Count a problem answered."""
        self._refusals.labels(kind).inc()

    def stage(self, before: SwapEvent, after: SwapEvent) -> None:
        """Note how long a swap was in the status it has just left."""
        if before.state is not after.state:
            self._stages.labels(before.state.value).observe(max(0, after.at_ms - before.at_ms) / 1000)

    def watch(self, store: Store, inventory: Inventory) -> None:
        """Read swaps, chains and inventory from the store at each scrape."""
        self.registry.register(_StoreCollector(store, inventory))

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self.registry)


class _StoreCollector(Collector):
    def __init__(self, store: Store, inventory: Inventory) -> None:
        self._store = store
        self._inventory = inventory

    def describe(self) -> Iterator[Metric]:
        """Describe nothing at registration: it would read the store."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read one consistent snapshot."""
        up = GaugeMetricFamily("rainbow_store_up", "1 if the database answered this scrape")
        try:
            yield from self._read()
            up.add_metric([], 1)
        except StoreError:
            up.add_metric([], 0)
        yield up

    def _read(self) -> list[Metric]:
        swaps = GaugeMetricFamily("rainbow_swaps", "Swaps by status", labels=["status"])
        height = GaugeMetricFamily("rainbow_chain_height", "Newest block", labels=["chain"])
        scanned = GaugeMetricFamily("rainbow_chain_scanned", "Height taken in", labels=["chain"])
        healthy = GaugeMetricFamily("rainbow_chain_healthy", "1 if healthy", labels=["chain"])
        seen = GaugeMetricFamily("rainbow_chain_seen_timestamp_seconds", "Last answer", labels=["chain"])
        amounts = GaugeMetricFamily(
            "rainbow_inventory_units", "Smallest units, rounded by Prometheus", labels=["asset", "kind"]
        )
        paused = GaugeMetricFamily("rainbow_paused", "Operators' switches that are set")
        with self._store.reading() as tx:
            counts = tx.swaps.count_by_state()
            for state in SwapState:
                swaps.add_metric([state.value], counts.get(state, 0))
            for chain, status in tx.chains.all().items():
                healthy.add_metric([chain], float(status.healthy))
                scanned.add_metric([chain], status.scanned)
                seen.add_metric([chain], status.seen_ms / 1000)
                if status.tip is not None:
                    height.add_metric([chain], status.tip.block.height)
            for holding in self._inventory.all(tx):
                for kind, units in (
                    ("balance", holding.balance or 0),
                    ("reserved", holding.reserved),
                    ("available", holding.available),
                ):
                    amounts.add_metric([holding.asset.key, kind], float(units))
            paused.add_metric(
                [], len([switch for switch in tx.controls.all() if switch.name.startswith("pause:")])
            )
        return [swaps, height, scanned, healthy, seen, amounts, paused]
