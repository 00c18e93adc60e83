"""`rainbow version`."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version

from bridge.commands.output import Json, speaking


def version(as_json: Json = False) -> None:
    """Print the version."""
    with speaking(as_json) as output:
        number = installed_version("rainbow-bridge")
        python = ".".join(str(part) for part in sys.version_info[:3])
        output.result({"version": number, "python": python}, f"rainbow {number} (Python {python})")
