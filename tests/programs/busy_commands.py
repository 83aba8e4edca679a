# As many commands that are not Python as CPUs: all-cores-busy by the kernel's evidence alone.
import os
import subprocess
import sys

SECONDS = sys.argv[1]
COUNT = len(os.sched_getaffinity(0))
commands = [subprocess.Popen(["timeout", SECONDS, "sh", "-c", "while :; do :; done"]) for _ in range(COUNT)]
for command in commands:
    command.wait()
