"""The subcommands of `rainbow`, one module each."""
