"""The node's figures in Prometheus' text format 0.0.4, for `GET /metrics`."""

from __future__ import annotations

from chain.service.ports import ServedNode


def exposition(node: ServedNode) -> str:
    """Return all figures, one family after the other."""
    tip, pool = node.chain.tip, node.mempool
    best = node.chain.headers.best[1].header.height
    families: list[tuple[str, str, float]] = [
        ("zion_height", "Height of the head.", tip.height),
        ("zion_best_header_height", "Height of the heaviest known header.", best),
        ("zion_head_age_seconds", "Seconds between the median time past and the node's clock.",
         node.clock.now() - node.chain.median_time),
        ("zion_issued_units", "All subsidies so far, smallest units.", tip.issued),
        ("zion_locked_units", "Sum of open locks, smallest units.", tip.locked),
        ("zion_mempool_ready", "Transactions that can be mined now.", pool.ready_count),
        ("zion_mempool_gapped", "Transactions that wait for an earlier nonce.", pool.gapped_count),
        ("zion_next_block_fee_units", "Fee that suffices for the next block.", pool.fee_for_next_block()),
        ("zion_mining", "1 when the node mines.", int(node.mining)),
        ("zion_hash_rate", "Hashes per second of the node's own miner.", node.hash_rate),
        ("zion_problems", "Things that do not work now; /healthz names them.", len(node.problems)),
    ]  # fmt: skip
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} gauge\n{name} {value}\n" for name, text, value in families
    )
