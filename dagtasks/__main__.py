"""The `dagtasks` program, and `python -m dagtasks`."""

import gc
import io
import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Carry out the command line of this process, and end it."""
    # Commands are short: collecting garbage would cost more than the memory is worth, most of all while importing.
    gc.disable()
    # Pydantic looks for plugins in every package that is installed; that takes longer than checking some tasks.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")
    # ^C ends us at once, as it ends git: every file is whole at any instant, and an exception out of an import can
    # be lost in there. What wants to end in order (a run, `board serve`) takes the signal for itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _prepare_streams()
    # Tearing down the interpreter costs more than most commands; everything that matters is closed by now.
    os._exit(_carry_out())


def _prepare_streams() -> None:
    """Give the descriptors 0, 1 and 2 to nobody, else the next file that is opened would take what is printed; and let
    nothing fail for a letter that cannot be printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    # Names of files may hold what the terminal's encoding has not: it is shown escaped, as on stderr.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _carry_out() -> int:
    from dagtasks.cli import UNTOLD, call

    try:
        status = call(sys.argv[1:])
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        if "--debug" in sys.argv:
            raise
        return UNTOLD
    return status


if __name__ == "__main__":
    main()
