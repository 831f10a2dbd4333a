"""Runs a command, and writes down what it took, as JSON: python meter.py FILE COMMAND...

In a process of its own, which is small: what the system calls a process's peak memory is at least that of the process it was started from.
The peak is that of all the command's processes together, looked at twenty times a second (what they share counts for each), or that of the
largest, which the system notes without a gap.
"""

import json
import os
import sys
import threading
import time

PAGE = os.sysconf("SC_PAGE_SIZE")
file, *command = sys.argv[1:]
peak = 0


def family(process):
    """A process and all that it began, as far as they are there."""
    yield process
    try:
        for thread in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208  # pathlib would take its time to be imported
            with open(f"/proc/{process}/task/{thread}/children") as children:  # noqa: PTH123
                for child in children.read().split():
                    yield from family(child)
    except OSError:
        return


def resident(process):
    try:
        with open(f"/proc/{process}/statm") as sizes:  # noqa: PTH123
            return int(sizes.read().split()[1]) * PAGE
    except OSError:
        return 0


def look(process):
    global peak
    while True:
        peak = max(peak, sum(map(resident, family(process))))
        time.sleep(0.05)


began = time.monotonic()
process = os.posix_spawn(command[0], command, os.environ)
threading.Thread(target=look, args=(process,), daemon=True).start()
_, code, usage = os.wait4(process, 0)
took = {"wall": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime, "mb": max(peak, usage.ru_maxrss * 1024) / 2**20}
with open(file, "w") as out:  # noqa: PTH123
    json.dump(took, out)
sys.exit(os.waitstatus_to_exitcode(code))
