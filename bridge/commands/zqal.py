"""`rainbow zqal`: check, test, run and build programs in ZQAL (docs/zqal/tour.md)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.commands.output import Exit, Json, Output, WrongUsageError, plain, speaking

if TYPE_CHECKING:
    from kernels.zqal import typed
    from kernels.zqal.types import Type

app = typer.Typer(no_args_is_help=True, help="Programs in ZQAL: check, test, run, build.")
File = Annotated[Path, typer.Argument(help="A .zqal file.", exists=True, dir_okay=False, readable=True)]
Function = Annotated[str, typer.Option("--function", help="The function to build.")]


@app.command()
def check(file: File, as_json: Json = False) -> None:
    """Check types, bounds and overflows; every fault is shown with its place and what to write instead."""
    with speaking(as_json) as output:
        program = _checked(file, output)
        functions = {name: _signature(function) for name, function in program.functions.items()}
        output.result(
            {"program": program.name, "functions": functions},
            f"{program.name}: no faults, {len(functions)} functions, {len(program.tests)} tests",
        )


@app.command("test")
def run_tests(file: File, as_json: Json = False) -> None:
    """Run the tests in a file, in the oracle."""
    from kernels.zqal import oracle

    with speaking(as_json) as output:
        program = _checked(file, output)
        results: dict[str, str] = {}
        for title, block in program.tests:
            try:
                oracle.run_test(block)
                results[title] = ""
            except oracle.AssertionFailedError as failed:
                results[title] = str(failed)
        lines = [f"{'FAILED' if why else 'ok':6}  {title}" for title, why in results.items()]
        lines += [why for why in results.values() if why]
        output.result({"tests": results}, *(map(plain, lines) if lines else ["the file has no tests"]))
        if any(results.values()):
            raise typer.Exit(Exit.FAILED)


@app.command()
def run(
    file: File,
    function: Annotated[str, typer.Argument(help="The function to call.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Numbers, or 0x… for bytes.")] = None,
    compiled: Annotated[bool, typer.Option("--compiled", help="Machine code instead of the oracle.")] = False,
    as_json: Json = False,
) -> None:
    """Call a function. Bytes are given and shown in hexadecimal, numbers in decimal or 0x…."""
    from kernels.zqal import bind, oracle

    with speaking(as_json) as output:
        found = _function(_checked(file, output), function)
        given = arguments or []
        if len(given) != len(found.parameters):
            raise WrongUsageError(f"{function} takes {len(found.parameters)} arguments", _signature(found))
        values = [_read(text, slot.type) for text, (slot, _) in zip(given, found.parameters, strict=True)]
        began = time.perf_counter()
        if compiled:
            from kernels.zqal.backends import llvm
            from kernels.zqal.stage import stage

            keep, code = llvm.compiled(stage(found))
            result = bind.call(found, code, values)
            del keep
        else:
            result = oracle.run(found, values)
        seconds = time.perf_counter() - began
        shown = _shown(result)
        output.result({"result": shown, "seconds": seconds}, plain(str(shown)))


@app.command()
def build(
    file: File,
    to: Annotated[str, typer.Option("--to", help="c, llvm, opencl or cuda.")],
    function: Function = "mine",
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file.", dir_okay=False)] = None,
    as_json: Json = False,
) -> None:
    """Write a function as source text for another compiler; on graphics cards the search for a nonce."""
    from kernels.zqal.targets import Target, build

    with speaking(as_json) as output:
        if to not in set(Target):
            raise WrongUsageError(f"there is no target {to}", "targets: " + ", ".join(Target))
        text = build(_function(_checked(file, output), function), Target(to))
        if out is None:
            output.result({"source": text}, plain(text.rstrip()))
        else:
            out.write_text(text, encoding="utf-8")
            output.result({"file": str(out)}, f"written: {out}")


@app.command()
def doc(file: File, as_json: Json = False) -> None:
    """List a program's functions with their types and costs."""
    with speaking(as_json) as output:
        program = _checked(file, output)
        entries = [
            {"signature": _signature(f), "attributes": list(f.attributes), "steps": f.steps, "size": f.size}
            for f in program.functions.values()
        ]
        lines = [
            f"{' '.join(f'@{a}' for a in f.attributes)} {_signature(f)}  ({f.steps:,} steps)".lstrip()
            for f in program.functions.values()
        ]
        output.result({"program": program.name, "functions": entries}, *map(plain, lines))


def _checked(file: Path, output: Output) -> typed.Program:
    """Return the checked program, or show its faults as they are and end."""
    from kernels.zqal.checker.modules import check_file
    from kernels.zqal.diagnostics import ZqalError

    try:
        return check_file(file)
    except UnicodeDecodeError:
        raise WrongUsageError(f"{file} is not a text", "ZQAL is written in UTF-8") from None
    except ZqalError as error:
        if output.as_json:
            faults = [
                {"line": d.place.line, "column": d.place.column, "message": d.message, "help": d.help}
                for d in error.diagnostics
            ]
            output.result({"faults": faults})
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(Exit.FAILED) from None


def _function(program: typed.Program, name: str) -> typed.Function:
    if name not in program.functions:
        raise WrongUsageError(
            f"{program.name} has no function {name}", "it has " + ", ".join(sorted(program.functions))
        )
    return program.functions[name]


def _signature(function: typed.Function) -> str:
    parameters = ", ".join(
        f"{slot.name}: {'&mut ' if by_reference else ''}"
        + (f"entangled<{slot.type}>" if slot.uniform else str(slot.type))
        for slot, by_reference in function.parameters
    )
    return f"fn {function.name}({parameters}) -> {function.result}"


def _read(text: str, type_: Type) -> Any:
    from kernels.zqal import oracle
    from kernels.zqal.types import Bytes, Enum

    try:
        if isinstance(type_, Bytes):
            value: Any = bytes.fromhex(text.removeprefix("0x"))
        elif isinstance(type_, Enum) and type_.number(text) is not None:
            value = type_.number(text)
        else:
            value = int(text, 0)
    except ValueError:
        raise WrongUsageError(f"{text} is not a {type_}", "numbers: 12 or 0x0c; bytes: 0x00ff") from None
    if not oracle.fits(value, type_):
        raise WrongUsageError(f"{text} is not a {type_}", "its size or range is another")
    return value


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return int(value) if value is not None else None
