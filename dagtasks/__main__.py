"""The `dagtasks` program, and `python -m dagtasks`."""

import gc
import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Carry out the command line of this process, and end it."""
    # Commands are short: collecting garbage would cost more than the memory is worth, most of all while importing.
    gc.disable()
    # ^C ends us at once, as it ends git: every file is whole at any instant, and an exception out of an import can
    # be lost in there. What wants to end in order (a run, `board serve`) takes the signal for itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dagtasks.cli import call

    status = call(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Tearing down the interpreter costs more than most commands; everything that matters is closed by now.
    os._exit(status)


if __name__ == "__main__":
    main()
