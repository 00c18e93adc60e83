"""Deploy, deploy again and smoke on one local anvil, all through ape: `make ape-check` (offline)."""

import sys
import tempfile
from pathlib import Path

import ape

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, not as a module

from scripts.deploy import deploy
from scripts.smoke import smoke


def main() -> int:
    with ape.networks.parse_network_choice("ethereum:local:foundry"), tempfile.TemporaryDirectory() as folder:
        account = ape.accounts.test_accounts[0]
        first = deploy(account, Path(folder))
        if first.transaction is None:
            raise SystemExit("a fresh chain already has the contract")
        again = deploy(account, Path(folder))
        if again != first:
            raise SystemExit(f"the second deployment found something else: {again} after {first}")
        smoke(account, Path(folder) / f"{first.network}.json")
    print("ape-check passed: deployed, found again, locked, claimed, refunded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
