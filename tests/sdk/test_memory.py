"""The long-term memory: what one session keeps, another of the same agent and user has, and nobody else."""

import json
import subprocess
from urllib.parse import urlencode

import pytest

from harness import talk
from harness.process import BINARY
from harness.server import KEY, Server
from harness.shape import raw


def text(session_id, client):
    """What the tool gave, as the agent repeated it."""
    return talk.said(client, session_id)[-1].removeprefix("It gave ")


class Desk:
    """An agent that remembers, and a user of its own."""

    def __init__(self, client, mark):
        self.client, self.mark, self.user = client, mark, f"user-{mark}"
        self.agent = client.beta.agents.create(model="m1", name=mark, tools=[{"type": "memory"}])

    def session(self, input, user=None):
        session = self.client.beta.agents.sessions.create(
            agent_id=self.agent.id,
            environment=talk.NONE,
            metadata={"user_id": user or self.user},
            input=input,
        )
        talk.settled(self.client, session.id)
        return session

    def call(self, tool, user=None, **arguments):
        """A new session whose agent calls a tool at once: the session, and what the tool gave."""
        session = self.session(f"call {tool} {json.dumps(arguments)} {self.mark}", user)
        gave = text(session.id, self.client)
        return session, json.loads(gave) if gave.startswith("{") else gave

    def recalls(self, question, user=None, **arguments):
        """The facts that a new session recalls."""
        _, found = self.call("memory_recall", user, question=question, **arguments)
        return [passage for passage in found["passages"] if "fact" in passage]

    def ask(self, method, path, body=None, **params):
        query = f"?{urlencode(params)}" if params else ""
        return raw(self.client, method, f"/tenure/memory/{path}{query}", body)

    @property
    def space(self):
        return f"space:{self.agent.id}:{self.user}"


@pytest.fixture
def desk(client, mark):
    return Desk(client, mark)


def test_a_fact_is_recalled_by_the_next_session(desk):
    session, kept = desk.call("memory_remember", statement="Ada drinks green tea.", subject="Ada")
    assert kept["outcome"] == "remembered" and kept["scope"] == "space"
    [fact] = desk.recalls("What does Ada drink?")
    assert fact["fact"] == kept["fact"] and fact["text"] == "Ada drinks green tea."
    assert fact["source"]["session"] == session.id and fact["why"].startswith("terms: ")
    [item] = talk.items(desk.client, session.id, "mcp_call")
    assert (item.server_label, item.name, fact["source"]["item"]) == ("tenure", "memory_remember", item.id)
    assert desk.recalls("What does Ada drink?", user=f"other-{desk.mark}") == []
    _, again = desk.call("memory_remember", statement="ada drinks green tea")
    assert again["fact"] == kept["fact"] and again["outcome"].startswith("known already")


def test_a_correction_keeps_what_was_believed(desk):
    _, berlin = desk.call("memory_remember", statement="Ada lives in Berlin.", valid_from="2020-01-01")
    _, paris = desk.call(
        "memory_correct", fact=berlin["fact"], statement="Ada lives in Paris.", valid_from="2024-05-01"
    )
    assert paris["outcome"] == "corrected"
    texts = lambda facts: [fact["text"] for fact in facts]
    assert texts(desk.recalls("Where does Ada live?")) == ["Ada lives in Paris."]
    assert texts(desk.recalls("Where did Ada live in March 2023?")) == ["Ada lives in Berlin."]
    assert texts(desk.recalls("Where does Ada live?", true_at="2021-01-01")) == ["Ada lives in Berlin."]
    _, gone = desk.call("memory_forget", fact=paris["fact"], reason="asked to")
    assert gone["outcome"].startswith("forgotten")
    assert desk.recalls("Where does Ada live?") == []
    old = desk.ask("GET", f"facts/{berlin['fact']}").json()
    assert (old["state"], old["superseded_by"]) == ("closed", paris["fact"])


def test_pinned_blocks_are_shown_to_the_model(desk, upstream):
    _, edited = desk.call("memory_edit_block", name="likes", text=f"Green tea {desk.mark}-block.")
    assert edited["outcome"].startswith("changed")
    session = desk.session(f"say hello {desk.mark}-shown")
    talk.turn(desk.client, session.id, f"say more {desk.mark}-shown")
    first, second = [call.json for call in upstream.calls(f"{desk.mark}-shown")]
    shown = json.dumps(first["input"][0])
    assert "Pinned memory" in shown and f"> Green tea {desk.mark}-block." in shown
    assert second["input"][: len(first["input"])] == first["input"], "what comes first stays as it is"
    other = desk.session(f"say hello {desk.mark}-other", user=f"other-{desk.mark}")
    [call] = [call.json for call in upstream.calls(f"{desk.mark}-other")]
    assert "Pinned memory" not in json.dumps(call["input"]), other.id


def test_what_others_read_waits_for_a_person(desk):
    _, proposed = desk.call("memory_remember", statement=f"The {desk.mark} invoices are red.", scope="agent")
    assert proposed["outcome"].startswith("proposed")
    assert desk.recalls(f"Which colour have the {desk.mark} invoices?") == []
    scope = f"agent:{desk.agent.id}"
    [waiting] = desk.ask("GET", "facts", scope=scope, state="proposed").json()["data"]
    assert waiting["id"] == proposed["fact"]
    accepted = desk.ask("POST", f"facts/{waiting['id']}/accept", {})
    assert accepted.status_code == 200 and accepted.json()["state"] == "active"
    [fact] = desk.recalls(f"Which colour have the {desk.mark} invoices?", user=f"other-{desk.mark}")
    assert fact["scope"] == "agent"
    desk.ask("PUT", "settings", {"scope": desk.space, "review": True})
    _, kept = desk.call("memory_remember", statement="Ada drinks coffee.")
    assert kept["outcome"].startswith("proposed")
    rejected = desk.ask("POST", f"facts/{kept['fact']}/reject", {"reason": "no"}).json()
    assert rejected["state"] == "rejected"


def test_the_memory_outlives_the_server(tmp_path, upstream, mark):
    server = Server(tmp_path / "own", upstream.url)
    try:
        desk = Desk(server.client, mark)
        _, kept = desk.call("memory_remember", statement="Ada drinks green tea.")
        server.restart()
        desk.client = server.client
        [fact] = desk.recalls("What does Ada drink?")
        assert fact["fact"] == kept["fact"]
        [saved] = desk.ask("GET", "facts", scope=desk.space).json()["data"]
        assert saved["said"] == 1
    finally:
        server.stop()


def command(server, *args):
    """The command line against the server: what it prints."""
    line = [BINARY, "--url", server.url.removesuffix("/v1"), "memory", *map(str, args)]
    run = subprocess.run(line, env={"TENURE_API_KEY": KEY, "PATH": ""}, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_scope_goes_out_and_in_again(server, mark, tmp_path):
    scope, other = f"user:{mark}", f"user:other-{mark}"
    first = command(server, "add", "Ada lives in Berlin.", "--scope", scope, "--subject", "Ada", "--from", "2020-01-01")
    command(server, "edit", first.split()[1], "Ada lives in Paris.", "--from", "2024-05-01")
    command(server, "add", "Billing uses PostgreSQL.", "--scope", scope, "--subject", "billing", "--confidence", "80")
    command(server, "blocks", "set", "likes", "Tea, no sugar.", "--scope", scope)
    command(server, "procedures", "set", "brew-tea", "1. Boil.", "--description", "To brew tea.", "--scope", scope)
    command(server, "export", tmp_path / "out", "--scope", scope)
    [path] = (tmp_path / "out").iterdir()
    written = path.read_text()
    assert "> Tea, no sugar." in written and "description: To brew tea.\n\n> 1. Boil." in written
    assert "- Ada lives in Paris.\n  - valid_from: 2024-05-01T00:00:00Z" in written
    assert "# Closed" in written and "  - valid_to: 2024-05-01T00:00:00Z" in written
    command(server, "export", tmp_path / "again", "--scope", scope)
    assert (tmp_path / "again" / path.name).read_text() == written

    moved = tmp_path / "moved.md"
    moved.write_text(written.replace(f"scope: {scope}", f"scope: {other}"))
    assert command(server, "import", moved) == "2 facts added, 0 known already, 1 blocks, 1 procedures, 1 passed over\n"
    assert command(server, "import", moved) == "0 facts added, 2 known already, 1 blocks, 1 procedures, 1 passed over\n"
    listed = command(server, "ls", "--scope", other)
    assert "Ada lives in Paris." in listed and "Billing uses PostgreSQL." in listed and "Berlin" not in listed
    lines = command(server, "export", "--scope", other, "--as", "jsonl").splitlines()
    assert {json.loads(line)["type"] for line in lines} == {"fact", "block", "procedure"} and len(lines) == 4

    moved.write_text(written.replace("confidence: 80", "confidence: 800"))
    line = [BINARY, "--url", server.url.removesuffix("/v1"), "memory", "import", str(moved)]
    run = subprocess.run(line, env={"TENURE_API_KEY": KEY, "PATH": ""}, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1 and "`confidence`: expected a whole number from 1 to 100" in run.stderr
