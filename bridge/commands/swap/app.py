"""The group of commands `rainbow swap`; each of them adds itself."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Your own swaps. Secrets stay in encrypted recovery files.")
