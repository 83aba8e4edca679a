# Processes that live for milliseconds. Prints the CPU time of itself and its children.
import os
import resource
import sys
import time

until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    pid = os.fork()
    if pid == 0:
        end = time.process_time() + 0.003
        while time.process_time() < end:
            pass
        os._exit(0)
    os.waitpid(pid, 0)
own = resource.getrusage(resource.RUSAGE_SELF)
children = resource.getrusage(resource.RUSAGE_CHILDREN)
print(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime)
