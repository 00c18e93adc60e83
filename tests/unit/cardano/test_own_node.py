"""The emulated Ogmios and Kupo, held to Ogmios' own schema, driven by unmodified clients and the adapter."""

from __future__ import annotations

import asyncio
import json
import re
from importlib import resources
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest
from ogmios.client import Client as OgmiosClient
from ogmios.datatypes import Point as OgmiosPoint
from pycardano import Address, Network, Redeemer, TransactionBuilder, TransactionOutput, VerificationKeyHash
from pycardano.backend.ogmios_v6 import KupoOgmiosV6ChainContext
from websockets.asyncio.client import connect

from bridge.chains.actions import ClaimAction, LockAction
from bridge.chains.errors import DeepReorgError, PortError
from bridge.chains.port import FeeLevel
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, BlockHeight, BlockRef, LockTerms, Preimage, UnixSeconds
from relayers.cardano import building
from relayers.cardano.adapter import open_port
from relayers.cardano.building import BuildContext
from relayers.cardano.devnet import CardanoDevnet
from relayers.cardano.devnet.parameters import protocol_parameters
from relayers.cardano.parameters import from_ogmios, parse_parameters
from relayers.cardano.script import ClaimRedeemer, validator, validator_address
from relayers.cardano.settings import ADA
from tests.unit.cardano.conftest import Opener
from tests.unit.cardano.world import ALICE, BOB, PREIMAGE, signed

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.filterwarnings(r"ignore:connect\(\) must be used:DeprecationWarning"),  # the client's own
]
SCHEMA_METHODS = {
    "queryNetwork/tip": "QueryNetworkTipResponse",
    "queryNetwork/blockHeight": "QueryNetworkBlockHeightResponse",
    "queryNetwork/startTime": "QueryNetworkStartTimeResponse",
    "queryNetwork/genesisConfiguration": "QueryNetworkGenesisConfigurationResponse",
    "queryLedgerState/protocolParameters": "QueryLedgerStateProtocolParametersResponse",
    "findIntersection": "FindIntersectionResponse",
    "nextBlock": "NextBlockResponse",
    "acquireMempool": "AcquireMempoolResponse",
    "nextTransaction": "NextTransactionResponse",
    "hasTransaction": "HasTransactionResponse",
    "sizeOfMempool": "SizeOfMempoolResponse",
    "releaseMempool": "ReleaseMempoolResponse",
    "submitTransaction": "SubmitTransactionResponse",
    "evaluateTransaction": "EvaluateTransactionResponse",
}


class Schema:
    """Ogmios' JSON schemas, as its Python client ships them, put into one: validators refuse their names."""

    def __init__(self) -> None:
        self._definitions: dict[str, Any] = {}
        for document in ("ogmios", "cardano"):
            text = resources.files("ogmios.model").joinpath(f"{document}.json").read_text()
            text = re.sub(r'"(\w+)\.json#/(\w+)/([^"/]+)', _local_reference, text)
            whole = json.loads(text)
            for kind in ("definitions", "properties"):
                for name, each in whole.get(kind, {}).items():
                    self._definitions[plain(document, kind, name)] = each
        # It asks every key of a value to be a policy, and "ada" to be among them: nothing could pass.
        del self._definitions[plain("cardano", "definitions", "Value")]["propertyNames"]
        # It is that of 6.0, from before the era of the devnet's blocks.
        block = self._definitions[plain("cardano", "definitions", "Block<Praos>")]["properties"]
        block["era"]["enum"].append("conway")

    def check(self, method: str, answer: Any) -> None:
        wanted = plain("ogmios", "properties", SCHEMA_METHODS[method])
        schema = {"definitions": self._definitions, "$ref": f"#/definitions/{wanted}"}
        for error in jsonschema_rs.validator_for(schema).iter_errors(answer):
            raise AssertionError(f"{method}: {error}")


def _local_reference(found: re.Match[str]) -> str:
    return f'"#/definitions/{plain(*found.groups())}'


def plain(document: str, kind: str, name: str) -> str:
    return re.sub(r"\W", "_", f"{document} {kind} {name}")


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


class Line:
    """A raw connection whose every answer is held to the schema."""

    def __init__(self, socket: Any, schema: Schema) -> None:
        self._socket, self._schema = socket, schema

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        call = {"jsonrpc": "2.0", "method": method, "params": params, "id": method}
        await self._socket.send(json.dumps(call))
        answer: dict[str, Any] = json.loads(await self._socket.recv())
        self._schema.check(method, answer)
        return answer


def terms_of(devnet: CardanoDevnet, deadline: int) -> LockTerms:
    return LockTerms(
        chain=ADA.chain,
        contract=validator_address(devnet.settings.address_network),
        sender=ALICE.address,
        recipient=BOB.address,
        asset=ADA,
        amount=Amount(7_000_000),
        hashlock=Preimage(PREIMAGE).hashlock(),
        deadline=UnixSeconds(deadline),
    )


async def test_every_answer_has_the_form_of_the_official_schema(
    devnet: CardanoDevnet, schema: Schema, opened: Opener
) -> None:
    port = opened(devnet.settings, "own node/schema")
    await devnet.fund(port.account, ADA, 100_000_000)
    secret = Preimage(b"schema")
    terms = msgspec.structs.replace(
        terms_of(devnet, (await port.tip()).time + 900),
        sender=port.account,
        recipient=port.account,
        amount=8_000_000,
        hashlock=secret.hashlock(),
    )
    before = (await port.tip()).block
    lock = await port.prepare(LockAction(terms), None, FeeLevel())
    async with connect(devnet.ogmios_url) as socket:
        line = Line(socket, schema)
        for query in ("tip", "blockHeight", "startTime"):
            await line.ask(f"queryNetwork/{query}")
        await line.ask("queryNetwork/genesisConfiguration", era="shelley")
        await line.ask("queryLedgerState/protocolParameters")
        assert "error" in await line.ask("nextTransaction")
        assert "error" in await line.ask("submitTransaction", transaction={"cbor": "00"})
        await line.ask("submitTransaction", transaction={"cbor": lock.raw.hex()})
        await line.ask("acquireMempool")
        assert (await line.ask("sizeOfMempool"))["result"]["transactions"]["count"] == 1
        assert (await line.ask("hasTransaction", id=lock.tx_id))["result"] is True
        waiting = await line.ask("nextTransaction", fields="all")
        assert waiting["result"]["transaction"]["id"] == lock.tx_id
        assert (await line.ask("nextTransaction"))["result"]["transaction"] is None
        await line.ask("releaseMempool")
        await devnet.mine(1)
        claim = await port.prepare(ClaimAction(terms, secret), None, FeeLevel())
        assert (await line.ask("evaluateTransaction", transaction={"cbor": claim.raw.hex()}))["result"]
        await line.ask("submitTransaction", transaction={"cbor": claim.raw.hex()})
        await devnet.mine(1)
        again = await line.ask("submitTransaction", transaction={"cbor": claim.raw.hex()})
        assert again["error"]["code"] == 3117
        assert "error" in await line.ask("evaluateTransaction", transaction={"cbor": claim.raw.hex()})
        slot = devnet.settings.slot_at(before.time)
        assert "error" in await line.ask("findIntersection", points=[{"slot": slot, "id": "11" * 32}])
        await line.ask("findIntersection", points=[{"slot": slot, "id": before.id}, "origin"])
        steps = [await line.ask("nextBlock") for _ in range(3)]
        assert [step["result"]["direction"] for step in steps] == ["backward", "forward", "forward"]
        ids = [tx["id"] for step in steps[1:] for tx in step["result"]["block"]["transactions"]]
        assert ids == [lock.tx_id, claim.tx_id]


async def test_the_schema_would_notice_an_answer_of_another_form(schema: Schema) -> None:
    with pytest.raises(AssertionError):
        schema.check("queryNetwork/tip", {"jsonrpc": "2.0", "method": "queryNetwork/tip", "result": 1})


async def test_pycardanos_own_context_funds_locks_evaluates_and_claims(
    devnet: CardanoDevnet, opened: Opener
) -> None:
    for person in (ALICE, BOB):
        await devnet.fund(person.address, ADA, 100_000_000)
    head = await opened(devnet.settings, "head").tip()
    terms = terms_of(devnet, head.time + 5_000)
    await asyncio.to_thread(_lock, devnet, terms)
    await devnet.mine(1)
    await asyncio.to_thread(_claim, devnet, terms)
    await devnet.mine(1)
    port = opened(devnet.own_node_settings, "head")
    assert await port.read_lock(port.lock_id(terms), terms) == "claimed"


def context(devnet: CardanoDevnet) -> Any:
    return KupoOgmiosV6ChainContext(
        "127.0.0.1",
        devnet.port,
        "ogmios",
        False,
        refetch_chain_tip_interval=0.01,
        network=Network.TESTNET,
        kupo_url=devnet.kupo_url,
    )


def _lock(devnet: CardanoDevnet, terms: LockTerms) -> None:
    chain = context(devnet)
    builder = TransactionBuilder(chain)
    builder.add_input_address(ALICE.address)
    view = BuildContext(chain.protocol_param, 0, chain.network, None, ())
    builder.add_output(building._lock_output(terms, building.locked_value(view, terms)))
    chain.submit_tx(signed(builder.build_and_sign([ALICE.signing], _address(ALICE.address)), ALICE))


def _claim(devnet: CardanoDevnet, terms: LockTerms) -> None:
    chain = context(devnet)
    (lock,) = [one for one in chain.utxos(terms.contract) if one.output.amount.coin == terms.amount]
    builder = TransactionBuilder(chain)
    builder.add_input_address(BOB.address)
    builder.add_script_input(lock, validator(), redeemer=Redeemer(ClaimRedeemer(PREIMAGE)))
    builder.required_signers = [VerificationKeyHash(BOB.key)]
    builder.add_output(TransactionOutput(_address(BOB.address), lock.output.amount))
    chain.submit_tx(builder.build_and_sign([BOB.signing], _address(BOB.address)))


def _address(text: str) -> Address:
    return Address.from_primitive(text)


async def test_the_official_python_client_follows_a_roll_back(devnet: CardanoDevnet, opened: Opener) -> None:
    port = opened(devnet.settings, "own node/client")
    start = (await port.tip()).block
    await devnet.mine(2)
    client = await asyncio.to_thread(OgmiosClient, "127.0.0.1", devnet.port, "ogmios")
    point = OgmiosPoint(slot=devnet.settings.slot_at(start.time), id=start.id)

    def step() -> tuple[str, str]:
        direction, _, found, _ = client.next_block.execute()
        return direction.value, found.id

    await asyncio.to_thread(client.find_intersection.execute, [point])
    seen = [await asyncio.to_thread(step) for _ in range(3)]
    assert [direction for direction, _ in seen] == ["backward", "forward", "forward"]
    await devnet.reorg(2)
    seen = [await asyncio.to_thread(step) for _ in range(4)]
    assert seen[0] == ("backward", start.id)
    assert seen[-1] == ("forward", (await port.tip()).block.id)
    await asyncio.to_thread(client.connection.close)


async def test_both_services_give_the_same_protocol_parameters() -> None:
    from relayers.cardano.devnet import ogmios_json

    hosted, own = parse_parameters(protocol_parameters(0)), from_ogmios(ogmios_json.protocol_parameters())
    assert own == hosted


@pytest.mark.parametrize("back", [0, 1, 7, 30])
async def test_a_block_is_found_by_its_height_alone(devnet: CardanoDevnet, back: int, opened: Opener) -> None:
    port = opened(devnet.own_node_settings, "own node/height")
    await devnet.advance_time(1_000)
    await devnet.mine(31)
    head = (await port.tip()).block
    scan = await port.scan([BlockRef(BlockHeight(head.height - back), "", "", UnixSeconds(0))], 100)
    assert [block.height for block in scan.blocks] == list(range(head.height - back + 1, head.height + 1))
    with pytest.raises(DeepReorgError):
        await port.scan([msgspec.structs.replace(head, id="11" * 32)], 10)


async def test_kupo_refuses_what_is_no_pattern_and_filters_by_slots(devnet: CardanoDevnet) -> None:
    await devnet.fund(ALICE.address, ADA, 5_000_000)
    async with httpx.AsyncClient(base_url=devnet.kupo_url) as http:
        newest = (await http.get("/checkpoints")).json()[0]
        matches = f"/matches/{ALICE.address}"
        (made,) = (await http.get(f"{matches}?unspent&created_after={newest['slot_no']}")).json()
        assert made["created_at"] == newest
        assert (await http.get(matches, params={"created_after": newest["slot_no"] + 1})).json() == []
        for path in (
            "/matches/nonsense",
            "/matches/ab/*",
            f"{matches}?created_after=0",
            "/matches/1@ab",
            f"{matches}?unspent=",
        ):
            assert (await http.get(path)).status_code == 400
        assert (await http.get(f"/checkpoints/{newest['slot_no'] - 1}?strict")).json() != newest
        assert (await http.get("/health")).json()["most_recent_checkpoint"] == newest["slot_no"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ogmios_url": ""}, "both ogmios_url and kupo_url, or neither"),
        ({"kupo_url": ""}, "both ogmios_url and kupo_url, or neither"),
        ({"kupo_url": "", "blockfrost_url": "http://hosted"}, "both ogmios_url and kupo_url, or neither"),
        ({"ogmios_url": "", "kupo_url": ""}, "blockfrost_url, or ogmios_url and kupo_url"),
    ],
)
async def test_settings_that_name_no_whole_service_are_refused(
    devnet: CardanoDevnet, change: dict[str, str], words: str
) -> None:
    settings = msgspec.structs.replace(devnet.own_node_settings, **change)
    with pytest.raises(PortError) as refusal:
        open_port(settings, devnet_key("nobody"))
    assert words in refusal.value.hint
