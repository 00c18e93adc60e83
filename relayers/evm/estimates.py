"""What each purpose is expected to cost: gas at the current price, and on rollups the transactions' bytes."""

from __future__ import annotations

from eth_hash.auto import keccak

from bridge.chains.port import FeeEstimate
from bridge.protocol.types import Address, Amount, Asset, LockTerms, Preimage, UnixSeconds
from relayers.evm import fees, gas
from relayers.evm.data_fees import Ask, DataFee, data_fees
from relayers.evm.messages import Authorization, HtlcContract
from relayers.evm.rpc import Rpc, sound
from relayers.evm.settings import EvmSettings


async def estimate(
    rpc: Rpc, settings: EvmSettings, contract: HtlcContract, account: str, asset: Asset
) -> FeeEstimate:
    """Return the expected cost in wei of each purpose in the next block: for a slot of its own or a lane,
    whichever costs more, and a lane's first lock."""
    market = fees.read_market(sound((await rpc.batch([fees.market_call()]))[0]))
    price = market.base_fee + max(market.priority[0], settings.caps.minimum_priority)
    asks = samples(contract, account, asset)
    charged = await data_fees(rpc, settings.fee_model, asks)
    lock, claim, refund, gasless, authorized = (
        Amount(_cost(ask, fee, price)) for ask, fee in zip(asks, charged, strict=True)
    )
    return FeeEstimate(
        lock=lock, claim=claim, refund=refund, gasless_claim=gasless, authorized_claim=authorized
    )


def samples(contract: HtlcContract, account: str, asset: Asset) -> tuple[Ask, Ask, Ask, Ask, Ask]:
    """Return a lock, a claim of ours, a refund, a claim for somebody, and one that was signed for, each as
    large as real ones are, with the gas that each is expected to use."""
    opening = Preimage(_noise(0))
    terms = LockTerms(
        chain=contract.place.chain,
        contract=Address(contract.address),
        sender=Address(account),
        recipient=Address(account),
        asset=asset,
        amount=Amount(int.from_bytes(_noise(1)[:11], "big")),
        hashlock=opening.hashlock(),
        deadline=UnixSeconds(0x7FFFFFFF),
        lane=1,
    )
    signed = Authorization(
        relayer=account,
        max_fee=Amount(terms.amount // 2),
        nonce=int.from_bytes(_noise(2), "big"),
        expiry=terms.deadline,
        signature=_noise(3) + _noise(4) + b"\x1b",
    )
    units = gas.dearest(asset)
    claim = contract.claim(terms, opening)
    return (
        Ask(contract.lock(terms), units.lock),
        Ask(claim, gas.own_claim(asset)),
        Ask(contract.refund(terms), units.refund),
        Ask(claim, units.claim + gas.newcomer(asset)),
        Ask(contract.claim_for(terms, opening, signed, signed.max_fee), units.authorized_claim),
    )


def _cost(ask: Ask, charged: DataFee, price: int) -> Amount:
    return Amount((ask.units + charged.gas) * price + charged.wei)


def _noise(index: int) -> bytes:
    """Thirty-two bytes that compress as little as hashes, keys and signatures do."""
    return keccak(b"sample" + bytes([index]))
