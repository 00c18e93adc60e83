"""Reads the parts of a WebAssembly module that the network's rules look at (WebAssembly 1.0, binary format).

The module was validated before, so it is well formed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stellar_sdk import xdr

I64 = 0x7E
_TYPE_LETTERS = {0x7F: "j", 0x7E: "i", 0x7D: "f", 0x7C: "d"}
_FUNCTION, _TABLE, _MEMORY, _GLOBAL = range(4)
_BLOCKS = frozenset({0x02, 0x03, 0x04})
_ONE_INDEX = frozenset({0x0C, 0x0D, 0x10, *range(0x20, 0x27)})
_PREFIXED = 0xFC
_BULK_IMMEDIATES = {8: 2, 9: 1, 10: 2, 11: 1}
"""Instruction behind the prefix 0xFC → how many indexes follow."""
_FLOATS = frozenset(
    {0x2A, 0x2B, 0x38, 0x39, 0x43, 0x44, *range(0x5B, 0x67), *range(0x8B, 0xA7),
     *range(0xA8, 0xAC), *range(0xAE, 0xC0)}
)  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One import; parameters and results as letters, `i` for i64."""

    module: str
    name: str
    is_function: bool
    parameters: str
    results: str


@dataclass
class WasmModule:
    """What was found."""

    types: list[tuple[str, str]] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    """Type of each function of the module's own."""
    exported_parameters: list[str] = field(default_factory=list)
    exports: int = 0
    globals: int = 0
    table_elements: int = 0
    memory_pages: int = 0
    has_start: bool = False
    instructions: int = 0
    elements: int = 0
    data_segments: int = 0
    data_bytes: int = 0
    forbidden: int | None = None
    """The first instruction that the network does not allow."""
    custom: dict[str, bytes] = field(default_factory=dict)

    def costs(self) -> xdr.ContractCodeCostInputs:
        """Return the numbers that the ledger stores with a contract's code."""
        numbers = (
            self.instructions, len(self.functions), self.globals, self.table_elements, len(self.types),
            self.data_segments, self.elements, len(self.imports), self.exports, self.data_bytes,
        )  # fmt: skip
        return xdr.ContractCodeCostInputs(xdr.ExtensionPoint(0), *[xdr.Uint32(each) for each in numbers])


class _Reader:
    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end

    def byte(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def number(self) -> int:
        """An unsigned or signed LEB128 number; the sign is of no interest here."""
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return result

    def take(self, length: int) -> bytes:
        self.position += length
        return self.data[self.position - length : self.position]

    def name(self) -> str:
        return self.take(self.number()).decode()

    def limits(self) -> int:
        flags = self.byte()
        least = self.number()
        if flags & 1:
            self.number()
        return least

    @property
    def more(self) -> bool:
        return self.position < self.end


def read_module(code: bytes) -> WasmModule:
    """Read a valid module."""
    module = WasmModule()
    reader = _Reader(code, 8)
    while reader.more:
        kind, size = reader.byte(), reader.number()
        section = _Reader(code, reader.position, reader.position + size)
        reader.position += size
        _read_section(module, kind, section)
    return module


def _read_section(module: WasmModule, kind: int, section: _Reader) -> None:
    if kind == 0:
        name = section.name()
        module.custom.setdefault(name, section.take(section.end - section.position))
    elif kind == 8:
        module.has_start = True
    elif kind != 12:
        reading = _SECTIONS.get(kind)
        for _ in range(section.number()):
            if reading is not None:
                reading(module, section)


def _read_type(module: WasmModule, section: _Reader) -> None:
    section.byte()
    found = ["".join(_TYPE_LETTERS.get(each, "?") for each in section.take(section.number())) for _ in "pr"]
    module.types.append((found[0], found[1]))


def _read_import(module: WasmModule, section: _Reader) -> None:
    names, kind = (section.name(), section.name()), section.byte()
    parameters = results = ""
    if kind == _FUNCTION:
        parameters, results = module.types[section.number()]
    elif kind == _GLOBAL:
        section.take(2)
    else:
        section.take(kind == _TABLE)
        section.limits()
    module.imports.append(Import(*names, kind == _FUNCTION, parameters, results))


def _read_function(module: WasmModule, section: _Reader) -> None:
    module.functions.append(section.number())


def _read_table(module: WasmModule, section: _Reader) -> None:
    section.byte()
    module.table_elements += section.limits()


def _read_memory(module: WasmModule, section: _Reader) -> None:
    module.memory_pages += section.limits()


def _read_global(module: WasmModule, section: _Reader) -> None:
    module.globals += 1
    section.take(2)
    _walk_expression(module, section, count=False)


def _read_export(module: WasmModule, section: _Reader) -> None:
    section.name()
    kind, index = section.byte(), section.number()
    module.exports += 1
    if kind == _FUNCTION:
        own = index - sum(each.is_function for each in module.imports)
        if own >= 0:
            module.exported_parameters.append(module.types[module.functions[own]][0])


def _read_element(module: WasmModule, section: _Reader) -> None:
    if section.number() != 0:
        raise ValueError("only active element segments of table 0 are read")
    _walk_expression(module, section, count=False)
    for _ in range(section.number()):
        section.number()
    module.elements += 1


def _read_code(module: WasmModule, section: _Reader) -> None:
    end = section.number() + section.position
    for _ in range(section.number()):
        section.number()
        if section.byte() not in (0x7F, 0x7E):
            module.forbidden = module.forbidden or 0x7D
    body = _Reader(section.data, section.position, end)
    while body.more:
        _walk_instruction(module, body)
        module.instructions += 1
    section.position = end


def _read_data(module: WasmModule, section: _Reader) -> None:
    kind = section.number()
    if kind == 2:
        section.number()
    if kind != 1:
        _walk_expression(module, section, count=False)
    length = section.number()
    section.take(length)
    module.data_segments += 1
    module.data_bytes += length


_SECTIONS = {
    1: _read_type, 2: _read_import, 3: _read_function, 4: _read_table, 5: _read_memory, 6: _read_global,
    7: _read_export, 9: _read_element, 10: _read_code, 11: _read_data,
}  # fmt: skip


def _walk_expression(module: WasmModule, reader: _Reader, *, count: bool) -> None:
    while _walk_instruction(module, reader) != 0x0B:
        module.instructions += count


def _walk_instruction(module: WasmModule, reader: _Reader) -> int:
    """Step over one instruction and note the first that is not allowed."""
    code = reader.byte()
    allowed = code not in _FLOATS
    if code in _BLOCKS or code in _ONE_INDEX:
        reader.number()
    elif code == 0x11 or 0x28 <= code <= 0x3E:
        reader.number()
        reader.number()
    elif code in (0x3F, 0x40):
        reader.byte()
    elif code in (0x41, 0x42):
        reader.number()
    elif code in (0x43, 0x44):
        reader.take(4 if code == 0x43 else 8)
    elif code == 0x0E:
        for _ in range(reader.number() + 1):
            reader.number()
    elif code == _PREFIXED:
        second = reader.number()
        allowed = second in _BULK_IMMEDIATES
        for _ in range(_BULK_IMMEDIATES.get(second, 0)):
            reader.number()
    elif code > 0xC4 or code in (0x06, 0x07, 0x08, 0x09, 0x0A, 0x12, 0x13, 0x14, 0x15, 0x1C):
        allowed = False
        reader.position = reader.end  # of unknown length; the module is refused anyway
    if not allowed and module.forbidden is None:
        module.forbidden = code
    return code
