"""How much one endpoint may be asked at once; what it is called; how its errors are judged."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.chains.endpoints.answers import Answer, EndpointError, reading, shortened
from bridge.chains.endpoints.http import retry_after_of
from bridge.chains.endpoints.names import endpoint_names, host_of, redacted
from bridge.chains.endpoints.sending import best_of
from bridge.chains.endpoints.sizes import AdaptiveSize, RangeReader
from bridge.chains.port import BroadcastOutcome, BroadcastResult
from relayers.evm.rpc import ERRORS as EVM
from relayers.solana.rpc import ERRORS as SOLANA


def test_a_size_halves_down_to_one() -> None:
    size = AdaptiveSize(100)
    seen = []
    for _ in range(9):
        size.too_much(size.size)
        seen.append(size.size)
    assert seen == [50, 25, 12, 6, 3, 1, 1, 1, 1]
    with pytest.raises(ValueError, match="at least 1"):
        AdaptiveSize(0)


def test_a_size_grows_again_slowly_and_ever_more_slowly_against_a_fixed_limit() -> None:
    size, limit = AdaptiveSize(100), 10
    refused, asked = 0, 0
    for _ in range(5_000):
        asked += 1
        if size.size > limit:
            refused += 1
            size.too_much(size.size)
        else:
            size.served(size.size)
    assert 1 <= refused <= 16, f"{refused} of {asked} requests asked for more than the endpoint takes"
    assert size.size == 10, "it has found the limit"


def test_a_size_reaches_its_most_again_when_nothing_refuses() -> None:
    size = AdaptiveSize(100)
    size.too_much(100)
    for _ in range(200):
        size.served(size.size)
    assert size.size == 100
    size.too_much(100)
    size.served(3)
    assert size.size == 50, "small requests prove nothing"


async def test_a_range_is_read_in_pieces_without_gaps_and_the_limit_is_remembered() -> None:
    size, asked = AdaptiveSize(500), []

    async def ask(first: int, last: int) -> str:
        asked.append(last - first + 1)
        if last - first + 1 > 10:
            raise EndpointError("10 blocks at most", kind=Answer.TOO_MUCH)
        return f"{first}-{last}"

    reader: RangeReader[str] = RangeReader(7, 40)
    await reader.read(size, ask)
    assert [number for first, last, _ in reader.pieces for number in range(first, last + 1)] == list(
        range(7, 41)
    )
    assert asked[:3] == [34, 17, 8]
    asked.clear()
    await RangeReader[str](1, 16).read(size, ask)
    assert asked == [8, 8]


async def test_a_range_goes_on_with_the_next_endpoint_where_the_first_one_stopped() -> None:
    async def stops_at_five(first: int, last: int) -> str:
        if first > 5:
            raise EndpointError("down")
        return "a"

    async def serves(first: int, last: int) -> str:
        return "b"

    reader: RangeReader[str] = RangeReader(1, 9)
    with pytest.raises(EndpointError) as stopped:
        await reader.read(AdaptiveSize(3), stops_at_five)
    assert stopped.value.progress
    await reader.read(AdaptiveSize(100), serves)
    assert reader.pieces == [(1, 3, "a"), (4, 6, "a"), (7, 9, "b")]


async def test_one_step_that_is_too_much_passes_through() -> None:
    async def refuses(first: int, last: int) -> str:
        raise EndpointError("no", kind=Answer.TOO_MUCH)

    size = AdaptiveSize(8)
    with pytest.raises(EndpointError) as refused:
        await RangeReader[str](1, 8).read(size, refuses)
    assert not refused.value.progress
    assert size.size == 8, "it was not the size"


def test_endpoints_are_named_by_their_place_and_host_alone() -> None:
    urls = (
        "https://user:pw@rpc.example.org:8545/v3/0123456789abcdef?key=topsecret",
        "http://127.0.0.1/x",
        "nonsense",
    )
    names = endpoint_names(urls, "the EVM RPC")
    assert names == (
        "the EVM RPC, endpoint 1 of 3 (rpc.example.org)",
        "the EVM RPC, endpoint 2 of 3 (127.0.0.1)",
        "the EVM RPC, endpoint 3 of 3 (?)",
    )
    assert host_of("http://[::1") == "?"
    words = f"no project 0123456789abcdef at {urls[0]}: topsecret of user with pw"
    shown = redacted(words, urls[0])
    for secret in ("0123456789abcdef", "topsecret", "pw@", "user:"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), (" 120 ", 120.0), ("", None), ("soon", None), ("-3", None), ("9" * 40, 999_999_999.0)],
)
def test_retry_after_is_a_number_of_seconds(text: str, seconds: float | None) -> None:
    assert retry_after_of(text) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert retry_after_of("Wed, 21 Oct 2015 07:28:00 GMT", now=1_445_412_450.0) == 30.0
    assert retry_after_of("Wed, 21 Oct 2015 07:28:00 GMT", now=2e9) == 0.0


def test_what_a_malformed_answer_breaks_is_the_endpoints_fault() -> None:
    answer: Any = None
    for break_it in (
        lambda: dict[str, int]()["x"],
        lambda: answer[1],
        lambda: int("x"),
        lambda: answer + 1,
        lambda: answer.x,
    ):
        with pytest.raises(EndpointError) as wrong, reading("the X RPC, endpoint 1 of 1 (h)"):
            break_it()
        assert wrong.value.kind is Answer.WRONG
        assert str(wrong.value).startswith("the X RPC, endpoint 1 of 1 (h) answered in a shape")
        assert wrong.value.hint
    assert shortened("a\n b" + "c" * 1_000) == "a b" + "c" * 296 + "…"


def test_one_endpoint_that_has_it_is_enough() -> None:
    outcome = BroadcastOutcome
    worst_first = [outcome.REJECTED, outcome.UNDERPRICED, outcome.LATER, outcome.SEQUENCE_USED]
    worst_first += [outcome.ALREADY_KNOWN, outcome.ACCEPTED]
    for count in range(1, len(worst_first) + 1):
        results = [BroadcastResult(each) for each in worst_first[:count]]
        assert best_of(results).outcome is worst_first[count - 1]
    assert set(worst_first) == set(outcome)


TOO_MUCH, LIMITED, REFUSED = Answer.TOO_MUCH, Answer.RATE_LIMITED, Answer.REFUSED
PASSING, PERMANENT = Answer.PASSING, Answer.PERMANENT


@pytest.mark.parametrize(
    ("method", "code", "words", "meaning"),
    [
        ("eth_blockNumber", -32603, "Internal error", PASSING),
        ("eth_blockNumber", -32000, "header not found", PASSING),
        ("eth_blockNumber", -32007, "50/second request limit reached", LIMITED),
        ("eth_blockNumber", -32097, "rate limited", LIMITED),
        ("eth_blockNumber", 35, "Request timeout on the free tier", PASSING),
        ("eth_call", 35, "Request timeout on the free tier", PASSING),
        ("eth_call", 3, "execution reverted", REFUSED),
        ("eth_call", -32603, "Error: VM Exception while processing transaction: reverted", REFUSED),
        ("eth_call", -32000, "missing trie node 1a2b (path )", PERMANENT),
        ("eth_sendRawTransaction", -32000, "nonce too low", REFUSED),
        ("eth_sendRawTransaction", -32603, "Internal error", PASSING),
        ("eth_getLogs", -32005, "query returned more than 10000 results", TOO_MUCH),
        ("eth_getLogs", -32005, "daily request count exceeded, request rate limited", LIMITED),
        (
            "eth_getLogs",
            -32600,
            "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range.",
            TOO_MUCH,
        ),
        ("eth_getLogs", -32014, "Batch of more than 10 requests are not allowed", TOO_MUCH),
        ("eth_getBlockReceipts", -32601, "the method eth_getBlockReceipts does not exist", PERMANENT),
        ("eth_getBlockByNumber", -32000, "finalized block not found", REFUSED),
        ("eth_getBlockByNumber", -39001, "Unknown block", REFUSED),
    ],
)
def test_what_the_errors_of_evm_nodes_mean(method: str, code: int, words: str, meaning: Answer) -> None:
    assert EVM.meaning(method, code, words) is meaning


@pytest.mark.parametrize(
    ("method", "code", "words", "meaning"),
    [
        ("getBlock", -32007, "Slot 5 was skipped, or missing due to ledger jump to recent snapshot", REFUSED),
        ("getBlock", -32004, "Block not available for slot 5", REFUSED),
        ("getBlock", -32014, "Block status not yet available for slot 5", PASSING),
        ("getBlock", -32001, "Block 5 cleaned up, does not exist on node", PERMANENT),
        ("getTransaction", -32015, "Transaction version (1) is not supported", REFUSED),
        ("getSignaturesForAddress", -32020, "Transaction x not found", REFUSED),
        ("getSignaturesForAddress", -32016, "Minimum context slot has not been reached", PASSING),
        ("getSlot", -32005, "Node is behind by 42 slots", PASSING),
        ("getSlot", 429, "Too many requests for a specific RPC call", LIMITED),
        ("getSlot", -32000, "unheard of", PASSING),
        ("sendTransaction", -32002, "Transaction simulation failed: Blockhash not found", REFUSED),
        ("sendTransaction", -32000, "unheard of", REFUSED),
        ("sendTransaction", -32005, "Node is unhealthy", PASSING),
    ],
)
def test_what_the_errors_of_solana_nodes_mean(method: str, code: int, words: str, meaning: Answer) -> None:
    assert SOLANA.meaning(method, code, words) is meaning
