# Asks a quick server whether there is news, and sleeps before it asks again: idle, no io-sequential.
import http.client
import http.server
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1])
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    connection.request("GET", "/")
    connection.getresponse().read()
    time.sleep(0.4)
