"""``python -m pipeline.commands``: the command line where the script ``penstock`` is not installed."""

from __future__ import annotations

from pipeline.commands import main

main(prog_name="penstock")
