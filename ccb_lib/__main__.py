"""``python -m ccb_lib`` is ``ccb``."""

from ccb_lib.cli.group import main

main(prog_name="ccb")
