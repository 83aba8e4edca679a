# Twenty modules of 40 ms each that are made, run and freed one after another, so that their code objects share addresses.
import time

TEXT = """
until = time.process_time() + 0.04
while time.process_time() < until:
    pass
"""

for number in range(20):
    exec(compile(TEXT, "made_up_%d.py" % number, "exec"), {"time": time})
