"""Runs a command, and writes down what it took, as JSON: python meter.py FILE COMMAND...

In a process of its own, which is small: what the system calls a process's peak memory is at least that of the process it was started from.
"""

import json
import os
import sys
import time

file, *command = sys.argv[1:]
began = time.monotonic()
process = os.posix_spawn(command[0], command, os.environ)
_, code, usage = os.wait4(process, 0)
took = {"wall": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime, "mb": usage.ru_maxrss / 1024}
with open(file, "w") as out:  # noqa: PTH123  # pathlib would take its time to be imported
    json.dump(took, out)
sys.exit(os.waitstatus_to_exitcode(code))
