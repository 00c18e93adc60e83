"""The devnet's money: what genesis holds and how accounts are funded, by ordinary transactions."""

from __future__ import annotations

import hashlib
from functools import cache

from pycardano import (
    Address,
    AssetName,
    ChainContext,
    GenesisParameters,
    MultiAsset,
    Network,
    PaymentSigningKey,
    ProtocolParameters,
    ScriptHash,
    ScriptPubkey,
    TransactionBuilder,
    TransactionId,
    TransactionInput,
    TransactionOutput,
    UTxO,
    Value,
)
from pycardano import Asset as TokenBundle

from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Asset
from relayers.cardano.devnet.chain import DevChain
from relayers.cardano.devnet.parameters import EPOCH_SLOTS, protocol_parameters
from relayers.cardano.devnet.raw_body import ref_of
from relayers.cardano.parameters import parse_parameters
from relayers.cardano.pycardano_logging import silence_pycardano
from relayers.cardano.script import validator
from relayers.cardano.settings import ADA

silence_pycardano()

POLICY_KEY = PaymentSigningKey(devnet_key("cardano/token policy"))
"""Who may mint and burn more of the devnet's token."""
_POLICY = ScriptPubkey(POLICY_KEY.to_verification_key().hash()).hash()
_NAME = AssetName(b"CUSD")
DEMO_TOKEN = Asset(ADA.chain, "CUSD", 6, (_POLICY.payload + _NAME.payload).hex())
"""The devnet's native token, of the instance named after the family; the treasury holds plenty of it from
genesis."""

_COINS = 100_000_000 * 10**6
_TOKENS = 10**15
_LEAST_COINS = 2_000_000
_PILES = 8

TREASURY_KEY = PaymentSigningKey(devnet_key("cardano/treasury"))
TREASURY = Address(TREASURY_KEY.to_verification_key().hash(), network=Network.TESTNET)
_KEEPER = PaymentSigningKey(devnet_key("cardano/reference script"))
_GENESIS_ID = hashlib.blake2b(b"rainbow devnet genesis", digest_size=32).digest()

REFERENCE_SCRIPT = f"{_GENESIS_ID.hex()}#0"
"""The genesis output that carries the HTLC's validator."""


def genesis() -> list[tuple[TransactionInput, TransactionOutput]]:
    """Return the first outputs: the validator for reference, and the treasury's piles."""
    keeper = Address(_KEEPER.to_verification_key().hash(), network=Network.TESTNET)
    outputs = [TransactionOutput(keeper, Value(20_000_000), script=validator())]
    tokens = MultiAsset({_POLICY: TokenBundle({_NAME: _TOKENS})})
    for pile in range(_PILES):
        outputs.append(TransactionOutput(TREASURY, Value(_COINS, tokens if pile % 2 else MultiAsset())))
    return [(TransactionInput(TransactionId(_GENESIS_ID), i), output) for i, output in enumerate(outputs)]


@cache
def _parameters() -> ProtocolParameters:
    return parse_parameters(protocol_parameters(0))


class _TreasuryContext(ChainContext):
    """The chain's head and mempool as pycardano's builder sees them."""

    def __init__(self, chain: DevChain) -> None:
        self._chain = chain

    @property
    def network(self) -> Network:
        return Network.TESTNET

    @property
    def epoch(self) -> int:
        return self._chain.head.slot // EPOCH_SLOTS

    @property
    def last_block_slot(self) -> int:
        return self._chain.head.slot

    @property
    def genesis_param(self) -> GenesisParameters:
        raise NotImplementedError

    @property
    def protocol_param(self) -> ProtocolParameters:
        return _parameters()

    def _utxos(self, address: str) -> list[UTxO]:
        taken = {ref for tx in self._chain.mempool.values() for ref in tx.spends}
        found = []
        for ref, output in self._chain.utxos.items():
            if ref not in taken and str(output.address.encode()) == address:
                found.append(UTxO(TransactionInput(TransactionId(bytes.fromhex(ref[0])), ref[1]), output))
        return found


def fund(chain: DevChain, address: str, unit: str, amount: int) -> str:
    """Send lovelace (`unit` "") or a native token from the treasury; return the transaction's id."""
    value = Value(amount)
    if unit:
        raw = bytes.fromhex(unit)
        tokens = TokenBundle({AssetName(raw[28:]): amount})
        value = Value(_LEAST_COINS, MultiAsset({ScriptHash(raw[:28]): tokens}))
    context = _TreasuryContext(chain)
    builder = TransactionBuilder(context)
    piles = context.utxos(TREASURY)
    # One pile is enough, and the largest lasts longest.
    pile = max(piles, key=lambda utxo: (_holds(utxo, unit), utxo.output.amount.coin))
    builder.add_input(pile)
    builder.add_output(TransactionOutput(Address.from_primitive(address), value))
    tx = builder.build_and_sign([TREASURY_KEY], TREASURY)
    record = chain.submit(tx.to_cbor())
    if ref_of(pile.input) not in record.spends:
        raise ValueError("the treasury's transaction spends something else")
    return record.id


def _holds(pile: UTxO, unit: str) -> int:
    if not unit:
        return -len(pile.output.amount.multi_asset)
    raw = bytes.fromhex(unit)
    held = pile.output.amount.multi_asset.get(ScriptHash(raw[:28]), {})
    return int(held.get(AssetName(raw[28:]), 0))
