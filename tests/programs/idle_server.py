# A server that nobody asks, with a thread that accepts: idle, no io-sequential.
import socketserver
import sys
import threading
import time

server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), socketserver.StreamRequestHandler)
thread = threading.Thread(target=server.serve_forever, args=(0.02,))
thread.start()
time.sleep(float(sys.argv[1]))
server.shutdown()
