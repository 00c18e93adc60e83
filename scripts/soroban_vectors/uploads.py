"""Which wasm the network takes as a contract and which not."""

from __future__ import annotations

import tempfile
from pathlib import Path

from stellar_sdk import xdr

from scripts.build_soroban import compile_wasm
from scripts.soroban_sections import custom_section, environment
from scripts.soroban_vectors.world import Host, World

HEAD = '#include "soroban.h"\n'
PLAIN = HEAD + 'EXPORT("f") Value f(Value a) { return a; }'


def _wasm(source: str, *flags: str, meta: bytes | None = None) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "test.c"
        path.write_text(source)
        section = custom_section("contractenvmetav0", environment() if meta is None else meta)
        return compile_wasm(path, ("-Wno-unused-parameter", *flags)) + (section if meta != b"" else b"")


def _body(result: str) -> str:
    return HEAD + f'EXPORT("f") Value f(Value a) {{ return {result}; }}'


def _imports(module: str, name: str, arguments: str) -> str:
    given = ", ".join("a" for _ in arguments)
    declared = ", ".join({"v": "Value", "i": "int"}[each] for each in arguments) or "void"
    return (
        HEAD + f'HOST("{module}", "{name}") Value g({declared});\n'
        f'EXPORT("f") Value f(Value a) {{ return a ? g({given}) : a; }}'
    )


def play(world: World) -> None:
    """Upload each; simulation alone says whether it is taken."""
    world.begin()
    many = ", ".join(f"Value a{number}" for number in range(33))
    cases: dict[str, tuple[bool, bytes]] = {
        "plain": (True, _wasm(PLAIN)),
        "environment 20": (True, _wasm(PLAIN, meta=environment(20))),
        "environment 27": (True, _wasm(PLAIN, meta=environment(27))),
        "environment 28": (False, _wasm(PLAIN, meta=environment(28))),
        "a pre-release": (False, _wasm(PLAIN, meta=environment(23, 1))),
        "no environment": (False, _wasm(PLAIN, meta=b"")),
        "broken environment": (False, _wasm(PLAIN, meta=b"\0\0")),
        "not wasm": (False, b"not wasm at all"),
        "cut off": (False, _wasm(PLAIN)[:60]),
        "a float": (False, _wasm(_body("(Value)((double)(i64)a * 1.5)"))),
        "sign extension": (
            True,
            _wasm(_body("(Value)(i64)(signed char)a"), "-mcpu=mvp+sign_ext"),
        ),
        "unknown import": (False, _wasm(_imports("x", "zz", ""))),
        "unknown module": (False, _wasm(_imports("q", "_", ""))),
        "import of another type": (False, _wasm(_imports("x", "7", "i"))),
        "import with too many arguments": (False, _wasm(_imports("x", "7", "v"))),
        "import newer than the environment": (False, _wasm(_imports("l", "f", "vvvvv"))),
        "import as new as the environment": (
            True, _wasm(_imports("l", "f", "vvvvv"), meta=environment(26)),
        ),
        "33 parameters": (False, _wasm(HEAD + f'EXPORT("f") Value f({many}) {{ return a0; }}')),
    }  # fmt: skip
    for name, (taken, wasm) in cases.items():
        function = xdr.HostFunction(Host.HOST_FUNCTION_TYPE_UPLOAD_CONTRACT_WASM, wasm=wasm)
        verdict = world.play(function, note=f"upload: {name}")
        world.check(bool(verdict.error) != taken, f"{name}: {verdict.error} {verdict.said}")
        world.done += taken
        world.refused += not taken
