# A worker thread keeps one connection and asks again and again, while the main one joins it: io-sequential.
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
                time.sleep(float(sys.argv[1]))
                self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def poll(port, until):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while time.monotonic() < until:
        connection.request("GET", "/")
        connection.getresponse().read()


server = subprocess.Popen([sys.executable, "-c", SERVER, (sys.argv + ["0.03"])[2]], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline())
thread = threading.Thread(target=poll, args=(port, time.monotonic() + float(sys.argv[1])))
thread.start()
thread.join()
server.kill()
