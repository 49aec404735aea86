"""The command as `python -m vault.cli`: so a supervisor starts its workers."""

from vault.cli import main

main()
