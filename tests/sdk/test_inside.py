"""MCP servers that run in a session's environment, or that only it reaches."""

import base64
import json
import pathlib
import shutil

import pytest
from openai.types.beta.agent_session_item import AgentSessionItem

from harness import talk, wait
from harness.executor import Executor
from harness.server import KEY, Server
from harness.shape import raw, refused, valid, valid_as

SOURCE = pathlib.Path(__file__).parent / "harness" / "box.py"
# The system's own: a sandbox sees no other.
PYTHON = "/usr/bin/python3"
HOSTED = {
    "type": "openai_hosted",
    "network": {"access": "disabled"},
    "files": [
        {"type": "inline", "path": "/workspace/box.py", "data": base64.b64encode(SOURCE.read_bytes()).decode()}
    ],
    "env": {"GIVEN": "yes", "HELD_BACK": "yes"},
}
UNKNOWN = "outcome is unknown"
# What the server answers is anybody's word, after which calls of it would wait for a person.
LEAVE = {"tenure": {"grants": [{"tool": "box/act", "uses_max": 9}]}}


def box(mark, cwd="/workspace", **transport):
    """The server as a tool; its process can be told from others by the mark."""
    transport = {"type": "stdio", "command": PYTHON, "args": ["box.py", mark], "cwd": cwd, **transport}
    return {"type": "mcp", "server_label": "box", "transport": transport}


def processes(mark):
    """Processes whose arguments hold the mark."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"box.py" in words and mark.encode() in words:
            found.append(int(entry.name))
    return found


def gone(mark):
    wait.until(lambda: not processes(mark), "the server's processes to be gone")


def calls(client, session):
    return talk.items(client, session.id, "mcp_call")


def output(item):
    assert (item.status, item.error) == ("completed", None), item
    return json.loads(item.output if isinstance(item.output, str) else item.output[0]["text"])


def finished(client, text, mark, environment=HOSTED, **transport):
    agent = {"tools": [box(mark, **transport)]}
    session = talk.create(client, text, agent=agent, environment=environment, extra_body=LEAVE)
    talk.ended(client, session.id)
    return client.beta.agents.sessions.retrieve(session.id)


def ran(client, session, text):
    talk.turn(client, session.id, text)
    return talk.items(client, session.id, "command_execution")[-1].output


def test_inside_call(client, upstream, mark):
    session = finished(client, f"act note first {mark}", mark, env={"OWN": "s3cret"}, env_vars=["GIVEN"])
    [item] = calls(client, session)
    valid_as(AgentSessionItem, item.to_dict(mode="json"))
    first = output(item)
    assert (first["count"], first["cwd"]) == (1, "/workspace")
    assert {"OWN", "GIVEN"} <= set(first["env"]) and "HELD_BACK" not in first["env"]
    shown = valid(session)["agent"]["tools"][0]["transport"]
    assert shown == {
        "type": "stdio",
        "command": PYTHON,
        "args": ["box.py", mark],
        "cwd": "/workspace",
        "env_vars": ["GIVEN"],
    }
    journal = raw(client, "GET", f"/tenure/sessions/{session.id}/journal").text
    assert "s3cret" not in journal
    # It works on the files that commands do, and stays between calls and beside commands.
    assert ran(client, session, f"run cat notes.txt; echo by hand >> notes.txt # {mark}") == f"first {mark}\n"
    talk.turn(client, session.id, f"act note second {mark}")
    second = output(calls(client, session)[-1])
    assert (second["count"], second["pid"]) == (2, first["pid"])
    assert second["key"] != first["key"]
    assert ran(client, session, f"run cat notes.txt # {mark}") == f"first {mark}\nby hand\nsecond {mark}\n"
    # What it left is the environment's, as a client sees it.
    files = client.beta.agents.environments.files.list(session.environment.id, order="asc")
    assert [file.path for file in files] == ["/workspace/box.py", "/workspace/calls.txt", "/workspace/notes.txt"]
    assert len(processes(mark)) >= 1
    client.beta.agents.sessions.delete(session.id)
    gone(mark)


def test_inside_dies(client, mark):
    """A server that dies in the middle of a call leaves its outcome open; the next call has a fresh one."""
    session = finished(client, f"act die {mark}", mark)
    [item] = calls(client, session)
    assert item.status == "failed" and UNKNOWN in item.error, item
    assert talk.ended(client, session.id)[0].status == "completed"
    talk.turn(client, session.id, f"act note again {mark}")
    assert output(calls(client, session)[-1])["count"] == 1
    # What it had written before it died was kept: nobody knows whether the call was done.
    assert ran(client, session, f"run cat calls.txt # {mark}") == "act die\nact note\n"


def test_inside_cancel(client, mark):
    """A call that a client cancels ends its server: what it would still do nobody waits for."""
    session = talk.create(client, f"act hang {mark}", agent={"tools": [box(mark)]}, environment=HOSTED)
    wait.until(lambda: calls(client, session), "the call to begin")
    wait.until(lambda: processes(mark), "the server to run")
    talk.send(client, session.id, talk.CANCEL)
    assert talk.ended(client, session.id)[0].status == "cancelled"
    gone(mark)
    talk.turn(client, session.id, f"look note {mark}")
    assert output(calls(client, session)[-1])["count"] == 1


def test_inside_that_is_no_server(client, mark):
    session = finished(client, f"say {mark}", mark, args=["-c", "import sys; sys.exit('no such module')"])
    # It is not required, so the agent goes on without its tools.
    assert talk.ended(client, session.id)[0].status == "completed"
    required = {**box(mark, args=["-c", "import sys; sys.exit('no such module')"]), "required": True}
    session = talk.create(client, f"say {mark}", agent={"tools": [required]}, environment=HOSTED)
    [turn] = talk.ended(client, session.id)
    assert (turn.status, turn.error.code) == ("failed", "connection_failed")


@pytest.mark.parametrize(
    "environment, tool, param",
    [
        (talk.NONE, box("x"), "agent.tools[0].transport"),
        (HOSTED, box("x", cwd="/srv"), "agent.tools[0].transport.cwd"),
        (HOSTED, box("x", cwd="workspace"), "agent.tools[0].transport.cwd"),
        (
            HOSTED,
            {
                "type": "mcp",
                "server_label": "far",
                "connection_origin": "environment",
                "transport": {"type": "http", "server_url": "https://mcp.example/mcp"},
            },
            "agent.tools[0].connection_origin",
        ),
        (
            {"type": "self_hosted", "workspace_directory": "/srv"},
            box("x", cwd="/srv", env={"A": "b"}),
            "agent.tools[0].transport.env",
        ),
    ],
)
def test_inside_refused(client, environment, tool, param):
    with refused(400, param=param):
        client.beta.agents.sessions.create(agent={"model": "m1", "tools": [tool]}, environment=environment, input="x")


def test_inside_saved_agent(client, mark):
    agent = client.beta.agents.create(model="m1", tools=[box(mark)])
    assert valid(agent)["tools"][0]["transport"]["command"] == PYTHON
    with refused(400, param="tools[0].transport.env"):
        client.beta.agents.create(model="m1", tools=[box(mark, env={"A": "b"})])
    session = client.beta.agents.sessions.create(
        agent_id=agent.id, environment=HOSTED, input=f"act note saved {mark}"
    )
    talk.ended(client, session.id)
    assert output(calls(client, session)[-1])["count"] == 1


def test_inside_suspended(tmp_path, upstream, mark):
    """A suspended environment runs nothing; its files are there for the server that starts anew."""
    server = Server(tmp_path, upstream.url, environments={"suspend_seconds": 2})
    try:
        client = server.client
        session = finished(client, f"act note kept {mark}", mark)
        look = lambda: raw(client, "GET", f"/agents/environments/{session.environment.id}").json()["status"]
        wait.until(lambda: look() == "suspended", "the environment to be suspended")
        gone(mark)
        talk.turn(client, session.id, f"act note more {mark}")
        assert output(calls(client, session)[-1])["count"] == 1, "what it knew went with its process"
        assert ran(client, session, f"run cat notes.txt # {mark}") == f"kept {mark}\nmore {mark}\n"
    finally:
        server.stop()


def test_inside_killed(tmp_path, upstream, mark):
    """The server dies in the middle of calls: each follows its own rule, and no process is left."""
    server = Server(tmp_path, upstream.url)
    try:
        acts = talk.create(server.client, f"act hang {mark}", agent={"tools": [box(mark)]}, environment=HOSTED)
        looks = talk.create(server.client, f"look slow {mark}", agent={"tools": [box(mark)]}, environment=HOSTED)
        begun = lambda session: calls(server.client, session)
        wait.until(lambda: begun(acts) and begun(looks) and len(processes(mark)) >= 2, "both calls to begin")
        server.kill()
        gone(mark)
        shutil.rmtree(server.data / "environments")
        server.start()
        client = server.client
        for session in (acts, looks):
            assert talk.ended(client, session.id)[0].status == "completed"
        [act] = calls(client, acts)
        assert act.status == "failed" and UNKNOWN in act.error, "what may have been done is never done again"
        [look] = calls(client, looks)
        assert output(look)["count"] == 1, "what only reads is called again"
        assert ran(client, looks, f"run cat calls.txt # {mark}") == "look slow\n"
    finally:
        server.stop()


@pytest.fixture
def place(tmp_path):
    directory = tmp_path / "machine"
    directory.mkdir()
    shutil.copy(SOURCE, directory / "box.py")
    return directory


def own(place):
    return {"type": "self_hosted", "workspace_directory": str(place)}


def test_inside_self_hosted(server, place, mark):
    client = server.client
    tool = box(mark, cwd=str(place), env_vars=["GIVEN_TOKEN"])
    session = client.beta.agents.sessions.create(
        agent={"model": "m1", "tools": [tool]},
        environment=own(place),
        input=f"act note first {mark}",
        extra_body=LEAVE,
    )
    with Executor(session.environment, place, KEY, env={"GIVEN_TOKEN": "x", "OTHER_TOKEN": "y"}):
        assert talk.ended(client, session.id)[0].status == "completed"
        first = output(calls(client, session)[-1])
        assert (first["count"], first["cwd"]) == (1, str(place))
        assert "GIVEN_TOKEN" in first["env"] and "OTHER_TOKEN" not in first["env"]
        assert (place / "notes.txt").read_text() == f"first {mark}\n"
        talk.turn(client, session.id, f"act note second {mark}")
        second = output(calls(client, session)[-1])
        assert (second["count"], second["pid"]) == (2, first["pid"])
        # It dies in the middle of a call, and the next has a fresh one.
        talk.turn(client, session.id, f"act die {mark}")
        died = calls(client, session)[-1]
        assert died.status == "failed" and UNKNOWN in died.error
        talk.turn(client, session.id, f"look note {mark}")
        assert output(calls(client, session)[-1])["count"] == 1
        client.beta.agents.sessions.delete(session.id)
        gone(mark)


def test_inside_self_hosted_restart(tmp_path, upstream, place, mark):
    """The server dies during a call; the executor lives and dials again."""
    server = Server(tmp_path, upstream.url)
    port = server.url.rsplit(":", 1)[1].split("/")[0]
    try:
        session = server.client.beta.agents.sessions.create(
            agent={"model": "m1", "tools": [box(mark, cwd=str(place))]},
            environment=own(place),
            input=f"act hang {mark}",
        )
        with Executor(session.environment, place, KEY):
            wait.until((place / "calls.txt").exists, "the call to begin")
            server.kill()
            server.start(port)
            client = server.client
            assert talk.ended(client, session.id)[0].status == "completed"
            [item] = calls(client, session)
            assert item.status == "failed" and UNKNOWN in item.error
            assert (place / "calls.txt").read_text() == "act hang\n", "it was not done again"
    finally:
        server.stop()


def test_inside_over_http(server, orders, place, mark):
    """A server over HTTP that the executor reaches: it makes the requests, with what belongs to them."""
    client = server.client
    tool = {
        "type": "mcp",
        "server_label": "orders",
        "connection_origin": "environment",
        "transport": {"type": "http", "server_url": orders.url, "authorization": "Bearer b"},
        "request_metadata": {"mark": mark},
    }
    session = client.beta.agents.sessions.create(
        agent={"model": "m1", "tools": [tool]}, environment=own(place), input=f"order ord_1042 {mark}"
    )
    assert not orders.calls(mark)
    with Executor(session.environment, place, KEY):
        assert talk.ended(client, session.id)[0].status == "completed"
        [item] = calls(client, session)
        assert item.status == "completed" and "ord_1042" in json.dumps(item.to_dict(mode="json")["output"])
        [made] = [seen for seen in orders.calls(mark) if b"tools/call" in seen.body]
        headers = {name.lower(): value for name, value in made.headers.items()}
        assert headers["authorization"] == "Bearer b"
        assert headers["idempotency-key"] == made.json["params"]["_meta"]["tenure/idempotency-key"]
