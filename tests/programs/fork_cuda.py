# Loads a library by its path, which may be CUDA's driver, and forks two children: fork-hazard where it is.
import ctypes
import os
import sys
import time

ctypes.CDLL(sys.argv[2])
time.sleep(0.2)
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        time.sleep(float(sys.argv[1]))
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
