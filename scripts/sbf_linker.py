"""Link one eBPF relocatable object (clang) into a Solana program, SBPF v0 or v3.

v0 is what every cluster runs; v3 (SIMD-0178, 0179, 0189) is smaller and starts faster where it is enabled.
Formats: the ELF specification, and Agave's `sbpf` crate (elf.rs, ebpf.rs) for what it accepts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

EM_BPF = 247
ET_REL, ET_DYN = 1, 3
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_REL, SHT_DYNAMIC, SHT_NOBITS, SHT_DYNSYM = 1, 2, 3, 9, 6, 8, 11
SHF_WRITE, SHF_ALLOC, SHF_EXEC = 1, 2, 4
PT_LOAD, PT_DYNAMIC = 1, 2
PF_X, PF_W, PF_R = 1, 2, 4
STT_SECTION = 3
R_BPF_64_64, R_BPF_64_ABS64, R_BPF_64_32 = 1, 2, 10

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQ")
DYNAMIC = struct.Struct("<QQ")

CODE_BASE = 1 << 32
"""Where the virtual machine maps the program; in v3 the code is there and read-only data at 0."""


class LinkError(Exception):
    """The object contains something that SBF does not have, or no entrypoint."""


def murmur3_32(data: bytes) -> int:
    """Return MurmurHash3 x86_32 with seed 0: how v3 names a system call (Austin Appleby, public domain)."""
    mask = 0xFFFFFFFF

    def rotate(value: int, by: int) -> int:
        return ((value << by) | (value >> (32 - by))) & mask

    def mixed(block: bytes) -> int:
        return rotate(int.from_bytes(block, "little") * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask

    whole = len(data) & ~3
    value = 0
    for at in range(0, whole, 4):
        value = (rotate(value ^ mixed(data[at : at + 4]), 13) * 5 + 0xE6546B64) & mask
    if data[whole:]:
        value ^= mixed(data[whole:])
    value ^= len(data)
    value = (value ^ value >> 16) * 0x85EBCA6B & mask
    value = (value ^ value >> 13) * 0xC2B2AE35 & mask
    return value ^ value >> 16


@dataclass(frozen=True)
class Section:
    """A section header of the object, with its name."""

    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


@dataclass(frozen=True)
class Symbol:
    """A symbol of the object; `section` 0 means undefined."""

    name: str
    kind: int
    section: int
    value: int


class Object:
    """A relocatable eBPF ELF file, read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        header = HEADER.unpack_from(data)
        if header[0][:6] != b"\x7fELF\x02\x01" or header[1] != ET_REL or header[2] != EM_BPF:
            raise LinkError("not a little-endian eBPF object file")
        start, count, names = header[6], header[12], header[13]
        raw = [SECTION.unpack_from(data, start + index * SECTION.size) for index in range(count)]
        self.sections = [
            Section(self._text(raw[names][4] + one[0]), one[1], one[2], *one[4:9]) for one in raw
        ]
        self.symbols: list[Symbol] = []
        for section in self.sections:
            if section.kind == SHT_SYMTAB:
                strings = self.sections[section.link].offset
                for at in range(section.offset, section.offset + section.size, SYMBOL.size):
                    name, info, _, index, value, _ = SYMBOL.unpack_from(data, at)
                    self.symbols.append(Symbol(self._text(strings + name), info & 15, index, value))

    def _text(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode()

    def content(self, section: Section) -> bytes:
        """Return a section's bytes."""
        return self.data[section.offset : section.offset + section.size]

    def relocations(self) -> Iterator[tuple[int, int, int, Symbol]]:
        """Yield (section index, offset in it, type, symbol)."""
        for section in self.sections:
            if section.kind == SHT_REL:
                for at in range(section.offset, section.offset + section.size, RELOCATION.size):
                    offset, info = RELOCATION.unpack_from(self.data, at)
                    yield section.info, offset, info & 0xFFFFFFFF, self.symbols[info >> 32]


@dataclass
class Image:
    """Code and read-only data, and where each section of the object lies in them."""

    code: bytearray = field(default_factory=bytearray)
    constants: bytearray = field(default_factory=bytearray)
    places: dict[int, tuple[bool, int]] = field(default_factory=dict)
    """Section index → (is code, offset)."""
    syscalls: list[tuple[int, str]] = field(default_factory=list)
    """(offset in the code, name)."""


def gather(source: Object) -> Image:
    """Lay the object's sections out; raises `LinkError` on writable ones."""
    image = Image()
    for index, section in enumerate(source.sections):
        skipped = not section.flags & SHF_ALLOC or not section.size or section.name == ".eh_frame"
        if skipped or section.name.startswith(".BTF"):
            continue
        if section.flags & SHF_WRITE or section.kind == SHT_NOBITS:
            raise LinkError(f"section {section.name} is writable: a Solana program has no globals")
        is_code = bool(section.flags & SHF_EXEC)
        buffer = image.code if is_code else image.constants
        buffer += bytes(-len(buffer) % max(section.align, 8))
        image.places[index] = is_code, len(buffer)
        buffer += source.content(section)
    image.constants += bytes(-len(image.constants) % 8)
    return image


def relocate(source: Object, image: Image, code_at: int, constants_at: int) -> None:
    """Resolve every relocation for code and constants at these virtual addresses; system calls are kept."""
    for index, offset, kind, symbol in source.relocations():
        if index not in image.places:
            continue
        in_code, base = image.places[index]
        buffer, at = (image.code if in_code else image.constants), base + offset
        if symbol.section not in image.places:
            if kind != R_BPF_64_32 or not symbol.name.startswith("sol_"):
                raise LinkError(f"{symbol.name or 'something'} is not defined")
            buffer[at + 1] &= 0x0F  # source register 0: a call of the system
            image.syscalls.append((at, symbol.name))
            continue
        target_in_code, target = image.places[symbol.section]
        target += symbol.value
        if kind == R_BPF_64_32:
            if symbol.kind == STT_SECTION:  # then the immediate is the distance in the section, less one
                target += (struct.unpack_from("<i", buffer, at + 4)[0] + 1) * 8
            buffer[at + 1] = buffer[at + 1] & 0x0F | 0x10  # source register 1: a call within the program
            struct.pack_into("<i", buffer, at + 4, (target - at) // 8 - 1)
            continue
        address = (code_at if target_in_code else constants_at) + target
        if kind == R_BPF_64_64:  # lddw: the immediate is split over two instruction slots
            low = struct.unpack_from("<I", buffer, at + 4)[0]
            high = struct.unpack_from("<I", buffer, at + 12)[0]
            address += low | high << 32
            struct.pack_into("<I", buffer, at + 4, address & 0xFFFFFFFF)
            struct.pack_into("<I", buffer, at + 12, address >> 32)
        elif kind == R_BPF_64_ABS64:
            address += struct.unpack_from("<Q", buffer, at)[0]
            struct.pack_into("<Q", buffer, at, address)
        else:
            raise LinkError(f"relocation type {kind} is not supported")


def entry_offset(source: Object, image: Image) -> int:
    """Return where `entrypoint` is in the code."""
    for symbol in source.symbols:
        if symbol.name == "entrypoint" and symbol.section in image.places:
            is_code, base = image.places[symbol.section]
            if is_code:
                return base + symbol.value
    raise LinkError("the program has no function called entrypoint")


def link(data: bytes, version: int) -> bytes:
    """Return the program that the object `data` makes in SBPF `version` (0 or 3)."""
    source = Object(data)
    image = gather(source)
    if version == 3:
        return _link_v3(source, image)
    if version == 0:
        return _link_v0(source, image)
    raise LinkError(f"SBPF v{version} is not supported: 0 or 3")


def _file_header(entry: int, segments: int, sections: tuple[int, int], version: int) -> bytes:
    """Return the ELF header; `sections` is (offset, count), the last one holding the names."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    offset, count = sections
    return HEADER.pack(
        ident, ET_DYN, EM_BPF, 1, entry, HEADER.size, offset, version,
        HEADER.size, PROGRAM_HEADER.size, segments, SECTION.size, count, max(count - 1, 0),
    )  # fmt: skip


def _link_v3(source: Object, image: Image) -> bytes:
    """Two segments and no sections; a system call is the hash of its name."""
    relocate(source, image, CODE_BASE, 0)
    for at, name in image.syscalls:
        struct.pack_into("<I", image.code, at + 4, murmur3_32(name.encode()))
    count = 2 if image.constants else 1
    constants_at = HEADER.size + count * PROGRAM_HEADER.size
    code_at = constants_at + len(image.constants)
    segments = b""
    for flags, offset, address, size in (
        (PF_R, constants_at, 0, len(image.constants)),
        (PF_X, code_at, CODE_BASE, len(image.code)),
    ):
        if size:
            segments += PROGRAM_HEADER.pack(PT_LOAD, flags, offset, address, address, size, size, 8)
    entry = CODE_BASE + entry_offset(source, image)
    return _file_header(entry, count, (0, 0), 3) + segments + image.constants + image.code


def _link_v0(source: Object, image: Image) -> bytes:
    """A dynamic ELF whose system calls the loader resolves by dynamic relocations. Address = file offset."""
    segment_count = 3
    code_at = HEADER.size + segment_count * PROGRAM_HEADER.size
    constants_at = code_at + len(image.code)
    relocate(source, image, CODE_BASE + code_at, CODE_BASE + constants_at)
    for at, _ in image.syscalls:
        struct.pack_into("<i", image.code, at + 4, -1)

    names = sorted({name for _, name in image.syscalls})
    strings, symbols = b"\0", bytes(SYMBOL.size)
    for name in names:
        symbols += SYMBOL.pack(len(strings), 0x10, 0, 0, 0, 0)  # global, undefined
        strings += name.encode() + b"\0"
    strings += bytes(-len(strings) % 8)
    relocations = b"".join(
        RELOCATION.pack(code_at + at, (names.index(name) + 1) << 32 | R_BPF_64_32)
        for at, name in image.syscalls
    )
    symbols_at = constants_at + len(image.constants)
    strings_at = symbols_at + len(symbols)
    relocations_at = strings_at + len(strings)
    dynamic_at = relocations_at + len(relocations)
    dynamic = b"".join(
        DYNAMIC.pack(tag, value)
        for tag, value in (
            (6, symbols_at),  # DT_SYMTAB
            (11, SYMBOL.size),  # DT_SYMENT
            (5, strings_at),  # DT_STRTAB
            (10, len(strings)),  # DT_STRSZ
            (17, relocations_at),  # DT_REL
            (18, len(relocations)),  # DT_RELSZ
            (19, RELOCATION.size),  # DT_RELENT
            (0, 0),
        )
    )
    names_at = dynamic_at + len(dynamic)
    headers, table = _sections(
        (".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXEC, code_at, len(image.code), 0, 0, 0),
        (".rodata", SHT_PROGBITS, SHF_ALLOC, constants_at, len(image.constants), 0, 0, 0),
        (".dynsym", SHT_DYNSYM, SHF_ALLOC, symbols_at, len(symbols), 4, 1, SYMBOL.size),
        (".dynstr", SHT_STRTAB, SHF_ALLOC, strings_at, len(strings), 0, 0, 0),
        (".rel.dyn", SHT_REL, SHF_ALLOC, relocations_at, len(relocations), 3, 0, RELOCATION.size),
        (".dynamic", SHT_DYNAMIC, SHF_ALLOC | SHF_WRITE, dynamic_at, len(dynamic), 4, 0, DYNAMIC.size),
        names_at=names_at,
    )
    body = image.code + image.constants + symbols + strings + relocations + dynamic + table
    padding = bytes(-(code_at + len(body)) % 8)
    segments = b"".join(
        PROGRAM_HEADER.pack(kind, flags, at, at, at, size, size, 8)
        for kind, flags, at, size in (
            (PT_LOAD, PF_R | PF_X, code_at, len(image.code) + len(image.constants)),
            (PT_LOAD, PF_R, symbols_at, names_at - symbols_at),
            (PT_DYNAMIC, PF_R | PF_W, dynamic_at, len(dynamic)),
        )
    )
    sections_at = code_at + len(body) + len(padding)
    count = len(headers) // SECTION.size
    entry = code_at + entry_offset(source, image)
    header = _file_header(entry, segment_count, (sections_at, count), 0)
    return header + segments + bytes(body) + padding + headers


def _sections(*sections: tuple[str, int, int, int, int, int, int, int], names_at: int) -> tuple[bytes, bytes]:
    """Return the section headers and the string table of their names, which is the last section."""
    table, headers = b"\0", bytes(SECTION.size)
    for name, kind, flags, at, size, link_to, info, entry in sections:
        headers += SECTION.pack(len(table), kind, flags, at, at, size, link_to, info, 8, entry)
        table += name.encode() + b"\0"
    own = len(table)
    table += b".shstrtab\0"
    headers += SECTION.pack(own, SHT_STRTAB, 0, 0, names_at, len(table), 0, 0, 1, 0)
    return headers, table
