"""Runs one program and ends it when the parent goes, however the parent goes.

The parent holds the other end of our standard input; its end means stop. The program and this guard are each in
a session of their own, so a Ctrl-C in the terminal reaches neither before the parent had its orderly stop.
Started by path, with the standard library only.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
from types import FrameType

STDIN = 0


def main() -> None:
    """Run the command given after `--`; print its process id; exit with its status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stop-signal", type=int, required=True, help="what ends the program in order")
    parser.add_argument("--grace", type=float, required=True, help="seconds it then has before SIGKILL")
    parser.add_argument("--remove", help="a directory to delete when the parent is gone")
    parser.add_argument("--user", type=int, help="run the program as this user and group id")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    program = subprocess.Popen(  # noqa: S603  (the command is our own)
        options.command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
        user=options.user,
        group=options.user,
        extra_groups=None if options.user is None else [],
    )
    print(program.pid, flush=True)  # noqa: T201  (the parent reads it)
    parent_gone = threading.Event()

    def end_program() -> None:
        os.kill(program.pid, options.stop_signal)
        threading.Timer(options.grace, os.killpg, (program.pid, signal.SIGKILL)).start()

    def watch_parent() -> None:
        os.read(STDIN, 1)
        parent_gone.set()
        end_program()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        end_program()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    threading.Thread(target=watch_parent, daemon=True).start()
    status = program.wait()
    if parent_gone.is_set() and options.remove:
        shutil.rmtree(options.remove, ignore_errors=True)
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
