"""Two nodes on one database, and a client that turns to the other node for every call."""

import itertools

import httpx2

from .postgres import Postgres
from .server import CLIENT_SECONDS, Server


class Alternating(httpx2.BaseTransport):
    """Sends every request to another node than the one before."""

    def __init__(self, urls):
        self.urls = itertools.cycle([httpx2.URL(url) for url in urls])
        self.inner = httpx2.HTTPTransport()

    def handle_request(self, request):
        node = next(self.urls)
        request.url = request.url.copy_with(host=node.host, port=node.port)
        request.headers["host"] = f"{node.host}:{node.port}"
        return self.inner.handle_request(request)

    def close(self):
        self.inner.close()


class Cluster:
    """What one node has acknowledged, the other must know."""

    def __init__(self, directory, upstream_url, **options):
        self.postgres = Postgres()
        shared = {"database": self.postgres.url, "sealing_key": directory / "sealing.key", **options}
        self.nodes = [Server(directory / f"node-{number}", upstream_url, **shared) for number in (1, 2)]
        http = httpx2.Client(transport=Alternating([node.url for node in self.nodes]), timeout=CLIENT_SECONDS)
        self.client = self.nodes[0].new_client(http_client=http)

    def tail(self):
        return "\n".join(node.process.tail() for node in self.nodes)

    def stop(self):
        self.client.close()
        for node in self.nodes:
            node.stop()
        self.postgres.stop()
