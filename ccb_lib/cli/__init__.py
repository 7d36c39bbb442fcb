"""The command ``ccb``, one module per subcommand."""

from ccb_lib.cli.group import main

__all__ = ["main"]
