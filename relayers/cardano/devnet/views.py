"""The devnet's chain in Blockfrost's words (docs.blockfrost.io), read-only."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pycardano import Address, TransactionOutput, Value
from pycardano.crypto.bech32 import decode as bech32_decode

from relayers.cardano.devnet.chain import DevChain
from relayers.cardano.devnet.parameters import EPOCH_SLOTS
from relayers.cardano.devnet.raw_body import OutRef
from relayers.cardano.devnet.records import DevBlock, TxRecord, datum_hash_of, datum_of, script_hash_of
from relayers.cardano.devnet.treasury import DEMO_TOKEN

Json = dict[str, Any]


def amounts(value: Value) -> list[Json]:
    """Return a value as Blockfrost's list of unit and quantity."""
    listed = [{"unit": "lovelace", "quantity": str(value.coin)}]
    for policy, assets in (value.multi_asset or {}).items():
        for name, quantity in assets.items():
            listed.append({"unit": policy.payload.hex() + name.payload.hex(), "quantity": str(quantity)})
    return listed


def is_at(output: TransactionOutput, place: str) -> bool:
    """Tell whether an output is at an address, or under a payment credential (addr_vkh1…, script1…)."""
    is_credential, wanted = _read_place(place)
    address = output.address
    if not is_credential:
        return bytes(address.to_primitive()) == wanted
    return address.payment_part is not None and bytes(address.payment_part.payload) == wanted


@lru_cache(maxsize=1_000)
def _read_place(place: str) -> tuple[bool, bytes]:
    if place.startswith(("addr_vkh1", "script1")):
        return True, bytes(bech32_decode(place))
    return False, bytes(Address.from_primitive(place).to_primitive())


class Views:
    """Answers about a chain. What is unknown is None, which the server turns into 404."""

    def __init__(self, chain: DevChain) -> None:
        self._chain = chain

    def token(self, unit: str) -> Json | None:
        """What Blockfrost says of a token that there is; the registry has the devnet's own (openapi.yaml,
        `asset`)."""
        held = [output.amount.multi_asset for output in self._chain.utxos.values()]
        policy, name = unit[:56], unit[56:]
        quantity = sum(
            amount
            for tokens in held
            for script, assets in (tokens or {}).items()
            for asset, amount in assets.items()
            if (script.payload.hex(), asset.payload.hex()) == (policy, name)
        )
        if not quantity:
            return None
        known = {"name": DEMO_TOKEN.symbol, "description": "", "ticker": DEMO_TOKEN.symbol, "url": None}
        return {
            "asset": unit,
            "policy_id": policy,
            "asset_name": name or None,
            "quantity": str(quantity),
            "onchain_metadata": None,
            "onchain_metadata_standard": None,
            "metadata": {**known, "logo": None, "decimals": DEMO_TOKEN.decimals}
            if unit == DEMO_TOKEN.contract
            else None,
        }

    def epoch(self) -> Json:
        """The one epoch there is counted by slots, ending long after any test."""
        chain = self._chain
        return {
            "epoch": chain.head.slot // EPOCH_SLOTS,
            "start_time": chain.zero_time,
            "end_time": chain.time_of(10**9),
            "first_block_time": chain.zero_time,
            "last_block_time": chain.time_of(chain.head.slot),
            "block_count": chain.head.height + 1,
            "tx_count": len(chain.places),
            "output": "0",
            "fees": "0",
            "active_stake": None,
        }

    def find_block(self, name: str) -> DevBlock | None:
        """Return a block by "latest", height or hash."""
        blocks = self._chain.blocks
        if name == "latest":
            return blocks[-1]
        if name.isdigit() and len(name) < 20:
            return blocks[int(name)] if int(name) < len(blocks) else None
        return next((block for block in reversed(blocks) if block.id == name), None)

    def block(self, block: DevBlock) -> Json:
        """Return /blocks/{block}."""
        chain = self._chain
        following = chain.blocks[block.height + 1].id if block.height < chain.head.height else None
        fees = sum(tx.body.fee for tx in block.txs)
        return {
            "time": chain.time_of(block.slot),
            "height": block.height,
            "hash": block.id,
            "slot": block.slot,
            "epoch": block.slot // EPOCH_SLOTS,
            "epoch_slot": block.slot % EPOCH_SLOTS,
            "slot_leader": "pool1devnet",
            "size": sum(len(tx.raw) for tx in block.txs),
            "tx_count": len(block.txs),
            "output": None,
            "fees": str(fees) if block.txs else None,
            "block_vrf": "vrf_vk1devnet",
            "op_cert": None,
            "op_cert_counter": None,
            "previous_block": block.parent if block.height else None,
            "next_block": following,
            "confirmations": chain.head.height - block.height,
        }

    def find_tx(self, tx_id: str) -> TxRecord | None:
        """Return an included transaction."""
        place = self._chain.places.get(tx_id)
        return None if place is None else self._chain.blocks[place[0]].txs[place[1]]

    def tx(self, tx: TxRecord) -> Json:
        """Return /txs/{hash}."""
        height, index = self._chain.places[tx.id]
        block, body = self._chain.blocks[height], tx.body
        return {
            "hash": tx.id,
            "block": block.id,
            "block_height": height,
            "block_time": self._chain.time_of(block.slot),
            "slot": block.slot,
            "index": index,
            "output_amount": [
                {"unit": "lovelace", "quantity": str(sum(o.amount.coin for o in body.outputs))}
            ],
            "fees": str(body.fee),
            "deposit": "0",
            "size": len(tx.raw),
            "invalid_before": None if body.validity_start is None else str(body.validity_start),
            "invalid_hereafter": None if body.ttl is None else str(body.ttl),
            "utxo_count": len(body.inputs) + len(body.outputs),
            "withdrawal_count": 0,
            "mir_cert_count": 0,
            "delegation_count": 0,
            "stake_cert_count": 0,
            "pool_update_count": 0,
            "pool_retire_count": 0,
            "asset_mint_or_burn_count": 0,
            "redeemer_count": len(tx.redeemers),
            "valid_contract": tx.valid,
        }

    def tx_utxos(self, tx: TxRecord) -> Json:
        """Return /txs/{hash}/utxos."""
        inputs = []
        for refs, collateral, reference in (
            (tx.inputs, False, False),
            (tx.collateral, True, False),
            (tx.references, False, True),
        ):
            for ref in refs:
                view = self._output(ref, self._chain.outputs[ref])
                inputs.append({**view, "collateral": collateral, "reference": reference})
        outputs = []
        body = tx.body
        for index, output in enumerate(body.outputs):
            outputs.append(self._tx_output((tx.id, index), output, collateral=False))
        if body.collateral_return is not None:
            ref = (tx.id, len(body.outputs))
            outputs.append(self._tx_output(ref, body.collateral_return, collateral=True))
        return {"hash": tx.id, "inputs": inputs, "outputs": outputs}

    def _tx_output(self, ref: OutRef, output: TransactionOutput, *, collateral: bool) -> Json:
        view = self._output(ref, output)
        del view["tx_hash"]
        return {**view, "collateral": collateral, "consumed_by_tx": self._chain.spent_by.get(ref)}

    def _output(self, ref: OutRef, output: TransactionOutput) -> Json:
        datum = datum_of(output)
        return {
            "address": str(output.address.encode()),
            "tx_hash": ref[0],
            "output_index": ref[1],
            "amount": amounts(output.amount),
            "data_hash": datum_hash_of(output),
            "inline_datum": None if datum is None else datum.hex(),
            "reference_script_hash": None if output.script is None else script_hash_of(output.script),
        }

    def redeemers(self, tx: TxRecord) -> list[Json]:
        """Return /txs/{hash}/redeemers; only spending ones name their script."""
        listed = []
        for redeemer in tx.redeemers:
            script = ""
            if redeemer.tag == "spend":
                payment = self._chain.outputs[tx.inputs[redeemer.index]].address.payment_part
                script = payment.payload.hex() if payment is not None else ""
            listed.append(
                {
                    "tx_index": redeemer.index,
                    "purpose": redeemer.tag,
                    "script_hash": script,
                    "redeemer_data_hash": "",
                    "datum_hash": "",
                    "unit_mem": str(redeemer.memory),
                    "unit_steps": str(redeemer.steps),
                    "fee": "0",
                }
            )
        return listed

    def utxos(self, place: str, unit: str = "") -> list[Json]:
        """Return /addresses/{place}/utxos, oldest first, optionally of those that hold an asset."""
        chain = self._chain
        found = []
        for ref, output in chain.utxos.items():
            if is_at(output, place):
                height = chain.places.get(ref[0], (0, 0))[0]
                view = {**self._output(ref, output), "tx_index": ref[1], "block": chain.blocks[height].id}
                if not unit or any(amount["unit"] == unit for amount in view["amount"]):
                    found.append(view)
        return found

    def address_transactions(self, place: str, first: int, last: int) -> list[Json]:
        """Return /addresses/{place}/transactions in blocks `first` to `last`, oldest first."""
        found = []
        for block in self._chain.blocks[first : last + 1]:
            for index, tx in enumerate(block.txs):
                touched = [*tx.makes.values(), *(self._chain.outputs[ref] for ref in tx.spends)]
                if any(is_at(output, place) for output in touched):
                    found.append(
                        {
                            "tx_hash": tx.id,
                            "tx_index": index,
                            "block_height": block.height,
                            "block_time": self._chain.time_of(block.slot),
                        }
                    )
        return found

    def knows(self, place: str) -> bool:
        """Tell whether anything was ever at an address: else Blockfrost answers 404."""
        if any(is_at(output, place) for output in self._chain.utxos.values()):
            return True
        return bool(self.address_transactions(place, 0, self._chain.head.height))

    def datum(self, digest: str) -> bytes | None:
        """Return the CBOR of a datum that the chain (not the mempool) has seen, by its hash."""
        for block in self._chain.blocks:
            for tx in block.txs:
                for output in tx.makes.values():
                    if output.datum is not None and datum_hash_of(output) == digest:
                        return datum_of(output)
        return None

    def script(self, digest: str) -> Any:
        """Return a reference script by its hash."""
        for output in self._chain.outputs.values():
            if output.script is not None and script_hash_of(output.script) == digest:
                return output.script
        return None

    def mempool_of(self, place: str) -> list[str]:
        """Return the ids of waiting transactions that spend from or pay to an address."""
        found = []
        for tx in self._chain.mempool.values():
            touched = [*tx.makes.values(), *(self._chain.outputs[ref] for ref in tx.spends)]
            if any(is_at(output, place) for output in touched):
                found.append(tx.id)
        return found

    def mempool_tx(self, tx: TxRecord) -> Json:
        """Return /mempool/{hash}."""
        body = tx.body
        inputs = [
            {
                "address": str(self._chain.outputs[ref].address.encode()),
                "tx_hash": ref[0],
                "output_index": ref[1],
                "collateral": False,
                "reference": False,
            }
            for ref in tx.inputs
        ]
        outputs = [
            {key: value for key, value in self._output((tx.id, index), output).items() if key != "tx_hash"}
            for index, output in enumerate(body.outputs)
        ]
        about = {"hash": tx.id, "fees": str(body.fee), "size": len(tx.raw), "valid_contract": tx.valid}
        return {"tx": about, "inputs": inputs, "outputs": outputs, "redeemers": []}
