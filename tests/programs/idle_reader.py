# Reads lines that another program writes now and then: idle, no io-sequential.
import subprocess
import sys

WRITER = "import sys, time\nfor _ in range(int(float(sys.argv[1]) * 20)):\n    print(1, flush=True)\n    time.sleep(0.05)"
writer = subprocess.Popen([sys.executable, "-c", WRITER, sys.argv[1]], stdout=subprocess.PIPE, text=True)
total = sum(int(line) for line in writer.stdout)
