"""Errors of the Soroban host, as contracts and tools see them: a type and a code."""

from __future__ import annotations

from typing import Final

from stellar_sdk import xdr

from kernels.errors import RainbowError

Type = xdr.SCErrorType
Code = xdr.SCErrorCode

_TYPE_NAMES: Final = {
    Type.SCE_CONTRACT: "Contract", Type.SCE_WASM_VM: "WasmVm", Type.SCE_CONTEXT: "Context",
    Type.SCE_STORAGE: "Storage", Type.SCE_OBJECT: "Object", Type.SCE_CRYPTO: "Crypto",
    Type.SCE_EVENTS: "Events", Type.SCE_BUDGET: "Budget", Type.SCE_VALUE: "Value", Type.SCE_AUTH: "Auth",
}  # fmt: skip


class HostError(RainbowError):
    """What ends a call: `code` is a contract's own number for contract errors, else one of the host's."""

    def __init__(self, kind: xdr.SCErrorType, code: int, text: str = "") -> None:
        self.kind = kind
        self.code = int(code)
        self.text = text
        super().__init__(f"HostError: {self.name}" + (f" ({text})" if text else ""))

    @property
    def name(self) -> str:
        """The error as the real host prints it, e.g. `Error(Contract, #7)`."""
        if self.kind is Type.SCE_CONTRACT:
            return f"Error(Contract, #{self.code})"
        words = Code(self.code).name.removeprefix("SCEC_").split("_")
        return f"Error({_TYPE_NAMES[self.kind]}, {''.join(word.capitalize() for word in words)})"

    @property
    def is_limit(self) -> bool:
        """Tell whether a declared resource was too small."""
        return self.code == Code.SCEC_EXCEEDED_LIMIT and self.kind in (Type.SCE_BUDGET, Type.SCE_STORAGE)

    @property
    def is_recoverable(self) -> bool:
        """Tell whether a caller could have gone on: neither a limit nor a fault of the host."""
        if self.kind is Type.SCE_CONTRACT:
            return True
        return not self.is_limit and self.code != Code.SCEC_INTERNAL_ERROR

    def to_xdr(self) -> xdr.SCError:
        """Return the error as XDR."""
        if self.kind is Type.SCE_CONTRACT:
            return xdr.SCError(self.kind, contract_code=xdr.Uint32(self.code))
        return xdr.SCError(self.kind, code=Code(self.code))


def contract_error(code: int, text: str = "") -> HostError:
    """Return an error that a contract (also a built-in one) raised."""
    return HostError(Type.SCE_CONTRACT, code, text)
