"""Starts one program and ends it when whoever asked for it is gone.

`python -I -S watchdog.py PROGRAM ARGUMENT...`

The asker holds the other end of standard input and never writes: end of file means that it has ended, however
it did, `kill -9` included. Unlike Linux's PR_SET_PDEATHSIG this also works elsewhere, and does not mistake
the end of the thread that started the program for the end of the process.

The program gets a process group of its own, whose number (it is the program's process id too) is the only
thing that is written to standard output; what the program prints goes to standard error.
"""

import os
import signal
import subprocess
import sys
import threading


def kill_when_asker_is_gone(group: int) -> None:
    sys.stdin.buffer.read()
    os.killpg(group, signal.SIGKILL)


def main() -> None:
    with subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=sys.stderr, process_group=0) as program:
        print(program.pid, flush=True)
        threading.Thread(target=kill_when_asker_is_gone, args=(program.pid,), daemon=True).start()
        status = program.wait()
    # At once: the thread still waits in a read, which an orderly end would trip over.
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
