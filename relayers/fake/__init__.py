"""A seeded, deterministic chain in memory, with faults: the conformance suite and scenarios run on it."""

from relayers.fake.adapter import FakePort, RpcFaults
from relayers.fake.chain import ChainFaults, FakeChain
from relayers.fake.devnet import FakeDevnet
from relayers.fake.wallet import FakeWallet

__all__ = ["ChainFaults", "FakeChain", "FakeDevnet", "FakePort", "FakeWallet", "RpcFaults"]
