"""Servers and what stands behind them, started once and shared; every test uses texts of its own."""

import threading
import uuid

import pytest

from harness.cluster import Cluster
from harness.process import mock
from harness.receiver import Receiver
from harness.recorder import Recorder
from harness.server import Server

IDLE_TEST = "test_idle_stream_survives"
# Whose scenarios are also run against two nodes, with a client that turns to the other one for every call.
CLUSTERED = (
    "test_agents",
    "test_automations",
    "test_prewarmed",
    "test_fork",
    "test_self_hosted",
    "test_sessions",
    "test_templates",
    "test_subagents",
    "test_traces",
    "test_turns",
    "test_functions",
    "test_versions",
    "test_webhooks",
)


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("tenure")


@pytest.fixture(scope="session")
def upstream(directory, request):
    """The scripted model, with the recorder in front of it."""
    script = request.config.rootpath / "scripts" / "model.yaml"
    process = mock("openai", "--script", script, log=directory / "model.log")
    recorder = Recorder(process.url)
    yield recorder
    recorder.close()
    process.kill()


@pytest.fixture(scope="session")
def server(directory, upstream):
    """The server most tests share."""
    server = Server(directory / "shared", upstream.url)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cluster(directory, upstream):
    """Two nodes on one PostgreSQL."""
    cluster = Cluster(directory / "cluster", upstream.url)
    yield cluster
    cluster.stop()


@pytest.fixture
def client(request):
    """A client of the shared server, or of the two nodes."""
    name = getattr(request, "param", "server")
    return request.getfixturevalue(name).client


def pytest_generate_tests(metafunc):
    if "client" in metafunc.fixturenames and metafunc.module.__name__ in CLUSTERED:
        metafunc.parametrize("client", ["server", "cluster"], indirect=True)


@pytest.fixture
def mark():
    """A word that no other test uses."""
    return "mark" + uuid.uuid4().hex[:12]


@pytest.fixture
def own_server(tmp_path, upstream):
    """A server of the test's own, to kill; configured by its environment alone."""
    server = Server(tmp_path, upstream.url, configured=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def orders(directory):
    """The order book's MCP server behind a recorder."""
    process = mock("orders", log=directory / "orders.log")
    recorder = Recorder(process.url)
    yield recorder
    recorder.close()
    process.kill()


@pytest.fixture
def payments(tmp_path):
    """The payment service's MCP server behind a recorder, with a ledger of its own."""
    ledger = tmp_path / "ledger.jsonl"
    process = mock("payments", "--ledger", ledger, log=tmp_path / "payments.log")
    recorder = Recorder(process.url)
    recorder.ledger = ledger
    yield recorder
    recorder.close()
    process.kill()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


class Quiet:
    """A stream on which nothing happens but heartbeats, read in the background from the first test on."""

    def __init__(self, server):
        import http.client
        from urllib.parse import urlsplit

        from harness import talk
        from harness.server import KEY

        self.client = server.new_client()
        self.session = talk.finished(self.client, "say quiet")
        self.events = self.client.beta.agents.sessions.events.stream(self.session.id)
        self.beat = threading.Event()
        url = urlsplit(server.url)
        raw = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        path = f"{url.path}/agents/sessions/{self.session.id}/events"
        raw.request("GET", path, headers={"Authorization": f"Bearer {KEY}", "OpenAI-Beta": "agents=v1"})
        response = raw.getresponse()

        def read():
            while line := response.readline():
                if line.startswith(b":"):
                    self.beat.set()
                    return

        threading.Thread(target=read, daemon=True).start()

    def close(self):
        self.events.close()
        self.client.close()


@pytest.fixture(scope="session", autouse=True)
def quiet(request):
    """Opened first and looked at last, so that the heartbeat costs nobody fifteen seconds."""
    if not any(item.name == IDLE_TEST for item in request.session.items):
        yield None
        return
    quiet = Quiet(request.getfixturevalue("server"))
    yield quiet
    quiet.close()


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.name == IDLE_TEST)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failure shows what the server said."""
    outcome = yield
    report = outcome.get_result()
    for name in ("server", "own_server"):
        server = getattr(item, "funcargs", {}).get(name)
        if report.failed and server is not None:
            report.sections.append((f"{name} log", server.process.tail()))
