"""A proxy on loopback that remembers what passes and can hold it back."""

import contextlib
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from . import wait

PIECE_BYTES = 64 * 1024
HELD_SECONDS_MAX = 60
HOP_HEADERS = {"connection", "host", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"}


class Seen:
    """One request as it arrived."""

    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Gate:
    """Requests whose body holds `mark` stop here until it opens."""

    def __init__(self, mark):
        self.mark, self.arrived, self.open = mark.encode(), threading.Event(), threading.Event()

    def wait_arrival(self):
        wait.event(self.arrived, "a request at the gate")


class Recorder:
    """Listens on a port of its own and passes everything on to `target`."""

    def __init__(self, target):
        target = urlsplit(target)
        self.host, self.port, self.prefix = target.hostname, target.port, target.path.rstrip("/")
        self.seen, self.gates, self.lock = [], [], threading.Lock()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                recorder.handle(self)

            do_POST = do_DELETE = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}{self.prefix}"

    def close(self):
        for gate in self.gates:
            gate.open.set()
        self.server.shutdown()
        self.server.server_close()

    def calls(self, mark):
        """Requests whose body holds `mark`, oldest first."""
        with self.lock:
            return [seen for seen in self.seen if mark.encode() in seen.body]

    @contextlib.contextmanager
    def hold(self, mark):
        """Holds back every request with `mark` until the block ends or the gate is opened."""
        gate = Gate(mark)
        with self.lock:
            self.gates.append(gate)
        try:
            yield gate
        finally:
            gate.open.set()
            with self.lock:
                self.gates.remove(gate)

    def handle(self, request):
        request.close_connection = True
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self.lock:
            self.seen.append(Seen(request.command, request.path, headers, body))
            gates = [gate for gate in self.gates if gate.mark in body]
        for gate in gates:
            gate.arrived.set()
            gate.open.wait(HELD_SECONDS_MAX)
        upstream = http.client.HTTPConnection(self.host, self.port, timeout=HELD_SECONDS_MAX)
        try:
            kept = {name: value for name, value in headers.items() if name not in HOP_HEADERS}
            upstream.request(request.command, request.path, body or None, kept)
            self.answer(request, upstream.getresponse())
        except (OSError, http.client.HTTPException):
            # A fault on either side reaches the other as a broken connection.
            pass
        finally:
            upstream.close()

    @staticmethod
    def answer(request, response):
        request.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in HOP_HEADERS and name.lower() not in ("date", "server"):
                request.send_header(name, value)
        request.send_header("connection", "close")
        bodiless = response.status in (204, 304)
        if not bodiless:
            request.send_header("transfer-encoding", "chunked")
        request.end_headers()
        while not bodiless and (piece := response.read1(PIECE_BYTES)):
            request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        # A body that was cut raised before this, and stays cut.
        if not bodiless:
            request.wfile.write(b"0\r\n\r\n")
