"""Let `python -m dagtasks` be the same as `dagtasks`."""

from dagtasks.cli import main

main()
