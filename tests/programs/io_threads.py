# Plain threads, each with a connection of its own: io-threads-ok.
import http.client
import subprocess
import sys
import threading
import time

SERVER = """
import socketserver, sys, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            if not line.strip():
                time.sleep(0.03)
                self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def ask(port, until):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while time.monotonic() < until:
        connection.request("GET", "/")
        connection.getresponse().read()


server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline())
until = time.monotonic() + float(sys.argv[1])
threads = [threading.Thread(target=ask, args=(port, until)) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
server.kill()
