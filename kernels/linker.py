"""A linker for PoCL on machines without `ld`.

PoCL compiles a kernel to an object file and calls `ld` to make a shared library of it, the way clang does on
Linux. Where there is no `ld`, the PyPI package ziglang brings one: LLVM's lld.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

# clang asks for the C library and its start files as well. A kernel needs none of them, and where there is no
# `ld` their development files are missing too.
_SCRIPT = """\
#!/bin/sh
count=$#
while [ "$count" -gt 0 ]; do
    argument=$1
    shift
    count=$((count - 1))
    case $argument in
        -lc | -lm | -lgcc | -lgcc_s) continue ;;
        *.o) [ -e "$argument" ] || continue ;;
    esac
    set -- "$@" "$argument"
done
exec '{zig}' ld.lld "$@"
"""


@functools.cache
def provide_linker() -> None:
    """Put an `ld` on this process's PATH if it has none and ziglang is installed. Linux only."""
    if sys.platform != "linux" or shutil.which("ld"):
        return
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        return
    folder = Path(tempfile.mkdtemp(prefix="rainbow-ld-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    script = folder / "ld"
    script.write_text(_SCRIPT.format(zig=Path(spec.origin).with_name("zig")))
    script.chmod(0o755)
    os.environ["PATH"] = os.pathsep.join(filter(None, (os.environ.get("PATH"), str(folder))))
