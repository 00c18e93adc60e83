"""The list of transactions that name an address has neither gaps nor repetitions, whatever node answers."""

from __future__ import annotations

from typing import Any, cast

from bridge.chains.endpoints.json_rpc import Calls
from relayers.solana.address_index import AddressIndex


def entry(name: str, slot: int, *, final: bool) -> dict[str, Any]:
    status = "finalized" if final else "confirmed"
    return {"signature": name, "slot": slot, "err": None, "confirmationStatus": status}


class Node:
    """Lists `entries` (newest first) down to the cursor; all of them if it does not know that."""

    def __init__(self, *entries: dict[str, Any]) -> None:
        self.entries = entries

    async def call(self, method: str, address: str, options: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        for one in self.entries:
            if one["signature"] == options.get("until"):
                break
            found.append(one)
        return found


async def names(index: AddressIndex, first: int, last: int) -> list[str]:
    return [one["signature"] for one in await index.between(last, first, last)]


async def test_a_final_entry_above_one_that_is_not_hides_it_from_no_later_scan() -> None:
    """Two nodes behind one URL: the newest page came from one that is ahead of the other."""
    node = Node(entry("c", 12, final=True), entry("b", 11, final=False), entry("a", 10, final=True))
    index = AddressIndex(cast(Calls, node), "program")
    assert await names(index, 10, 10) == ["a"]
    assert await names(index, 11, 12) == ["b", "c"]


async def test_a_node_that_lacks_the_cursor_and_lists_all_again_repeats_nothing() -> None:
    node = Node(entry("b", 11, final=True), entry("a", 10, final=True))
    index = AddressIndex(cast(Calls, node), "program")
    assert await names(index, 10, 10) == ["a"]
    node.entries = (entry("c", 12, final=True), entry("a", 10, final=True))
    assert await names(index, 10, 12) == ["a", "b", "c"]
