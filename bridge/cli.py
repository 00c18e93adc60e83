"""The `rainbow` command."""
