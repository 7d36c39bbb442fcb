"""The command ``ccb``, one module a subcommand."""

from ccb_lib.cli.group import main

__all__ = ["main"]
