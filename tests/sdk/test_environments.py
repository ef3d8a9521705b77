"""Hosted environments: commands and files that are as durable as the conversation."""

import base64
import contextlib
import shutil
import sqlite3

import pytest
from openai.types.beta.agent_session_item import AgentSessionItem

from harness import talk, wait
from harness.server import Server
from harness.shape import raw, refused, valid, valid_as

HOSTED = {"type": "openai_hosted", "network": {"access": "disabled"}}


def inline(path, content):
    return {"type": "inline", "path": path, "data": base64.b64encode(content.encode()).decode()}


def ready(client, environment_id):
    """The environment once commands can run in it."""

    def look():
        response = raw(client, "GET", f"/agents/environments/{environment_id}")
        assert response.status_code == 200, response.text
        return response.json()["status"] == "connected" and response.json()

    return wait.until(look, "the environment to be connected")


def finished(client, text, environment=HOSTED):
    """A session whose first turn has ended: while its environment is made ready it is idle too."""
    session = talk.create(client, text, environment=environment)
    talk.ended(client, session.id)
    return client.beta.agents.sessions.retrieve(session.id)


def command(client, session_id):
    """The session's latest command."""
    return talk.items(client, session_id, "command_execution")[-1]


def paths(client, environment_id, **options):
    return [file.path for file in client.beta.agents.environments.files.list(environment_id, order="asc", **options)]


def test_hosted_command(client, mark):
    events = talk.stream(client, f"run pwd && echo out {mark} && echo err >&2", environment=HOSTED)
    session = client.beta.agents.sessions.retrieve(events[0].session.id)
    item = command(client, session.id)
    valid_as(AgentSessionItem, item.to_dict(mode="json"))
    assert (item.cwd, item.exit_code, item.status) == ("/workspace", 0, "completed")
    assert item.output.splitlines() == ["/workspace", f"out {mark}", "err"]
    assert item.duration_ms >= 0
    assert talk.said(client, session.id)[-1].startswith("Ran: Exit code 0.")
    names = [name for name in talk.types(events) if name.startswith("environment.")]
    assert names == ["environment.pending", "environment.ready", "environment.connected"]
    connected = talk.only(events, "environment.connected")
    assert connected.environment.id == session.environment.id
    valid(session)


def test_hosted_exit_code(client, mark):
    session = finished(client, f"run exit 7 # {mark}")
    item = command(client, session.id)
    assert (item.exit_code, item.status) == (7, "failed")
    # A command that fails does not fail its turn.
    assert talk.ended(client, session.id)[0].status == "completed"


def test_hosted_output_deltas(client, mark):
    session = client.beta.agents.sessions.create(agent={"model": "m1"}, environment=HOSTED)
    ready(client, session.environment.id)
    events = talk.turn(client, session.id, f"run echo first; sleep 0.3; echo second # {mark}")
    deltas = [event.delta for event in events if event.type == "agent.output.command_execution_output.delta"]
    assert deltas == ["first\n", "second\n"], "what is written apart is told apart"
    item = command(client, session.id)
    assert item.output == "".join(deltas)
    kinds = talk.types(events)
    added, done = kinds.index("turn.item.added", 2), kinds.index("turn.item.done")
    place = [at for at, kind in enumerate(kinds) if kind.startswith("agent.output.")]
    assert all(added < at < done for at in place)


def test_hosted_cancel_command(client, mark):
    session = talk.create(client, f"run echo begun > begun; sleep 600 # {mark}", environment=HOSTED)
    with talk.subscribed(client, session.id):
        wait.until(lambda: talk.items(client, session.id, "command_execution"), "the command to begin")
        talk.send(client, session.id, talk.CANCEL)
        assert talk.ended(client, session.id)[0].status == "cancelled"
    # The session is usable, and its files are those before the command.
    talk.turn(client, session.id, f"run ls # {mark}")
    assert command(client, session.id).output.split() == ["outputs"]


def test_hosted_files(client, mark):
    setup = [{"command": "wc -c < in.txt > size.txt"}, {"command": "cp ../in.txt copy.txt", "cwd": "/workspace/sub"}]
    files = [inline("/workspace/in.txt", mark), inline("/workspace/sub/x.txt", "x")]
    environment = {**HOSTED, "files": files, "setup_commands": setup, "env": {"GREETING": mark}}
    session = finished(client, f"run cat size.txt sub/copy.txt; echo; echo $GREETING # {mark}", environment)
    assert command(client, session.id).output.split() == [str(len(mark)), mark, mark]
    shown = valid(session)["environment"]
    assert [(file["path"], file["size_bytes"]) for file in shown["files"]] == [
        ("/workspace/in.txt", len(mark)),
        ("/workspace/sub/x.txt", 1),
    ]
    assert mark not in str({**shown, "files": None}), "values of variables are never returned"
    environment_id = session.environment.id
    assert ready(client, environment_id)["object"] == "agent.environment"
    everything = ["/workspace/in.txt", "/workspace/size.txt", "/workspace/sub/copy.txt", "/workspace/sub/x.txt"]
    assert paths(client, environment_id) == everything
    assert paths(client, environment_id, path="/workspace/sub") == everything[2:]
    assert paths(client, environment_id, path="/workspace/none") == []
    assert paths(client, environment_id, limit=1) == everything


def test_hosted_file_upload(client, mark):
    session = finished(client, f"run true # {mark}")
    files = client.beta.agents.environments.files
    placed = files.create(session.environment.id, **inline("/workspace/up/a.txt", mark))
    assert valid(placed) == {
        "environment_id": session.environment.id,
        "object": "agent.environment.file",
        "path": "/workspace/up/a.txt",
        "size_bytes": len(mark),
    }
    assert paths(client, session.environment.id) == ["/workspace/up/a.txt"]
    talk.turn(client, session.id, f"run cat up/a.txt # {mark}")
    assert command(client, session.id).output == mark
    for path in ("/etc/passwd", "/workspace/../a", "/workspace/outputs", "relative"):
        with refused(400, param="path"):
            files.create(session.environment.id, **inline(path, "x"))
    with refused(400, param="data", code="invalid_base64"):
        files.create(session.environment.id, type="inline", path="/workspace/a", data="?")
    with refused(400, param="path", code="file_not_placed"):
        files.create(session.environment.id, **inline("/workspace/up", "a file where a directory is"))
    with refused(404):
        files.create("env_0", **inline("/workspace/a", "x"))


def test_artifacts(client, mark):
    sessions = client.beta.agents.sessions
    session = finished(client, f"run mkdir outputs/d; echo {mark} > outputs/d/a.txt; ln -s a.txt outputs/d/l")
    [artifact] = sessions.artifacts.list(session.id)
    [turn] = talk.ended(client, session.id)
    assert valid(artifact) == {
        "id": artifact.id,
        "object": "agent.session.artifact",
        "session_id": session.id,
        "environment_id": session.environment.id,
        "turn_id": turn.id,
        "created_at": artifact.created_at,
        "path": "/workspace/outputs/d/a.txt",
        "size_bytes": len(mark) + 1,
    }
    content = lambda one: sessions.artifacts.content(one.id, session_id=session.id).read().decode()
    assert content(artifact) == f"{mark}\n"
    # What did not change is not published again; what did is, and the old bytes stay.
    talk.turn(client, session.id, f"run echo more >> outputs/d/a.txt; echo b > outputs/b.txt # {mark}")
    found = {(one.path, content(one)) for one in sessions.artifacts.list(session.id)}
    assert found == {
        ("/workspace/outputs/d/a.txt", f"{mark}\n"),
        ("/workspace/outputs/d/a.txt", f"{mark}\nmore\n"),
        ("/workspace/outputs/b.txt", "b\n"),
    }
    talk.turn(client, session.id, f"run true # {mark}")
    assert len(list(sessions.artifacts.list(session.id))) == 3
    assert sessions.artifacts.delete(artifact.id, session_id=session.id).deleted is True
    with refused(404):
        sessions.artifacts.retrieve(artifact.id, session_id=session.id)


def test_patch(client, mark):
    session = finished(client, f"patch {mark}")
    item = command(client, session.id)
    assert (item.exit_code, item.output) == (0, "The patch was applied.\nA notes/patched.txt\n")
    assert paths(client, session.environment.id) == ["/workspace/notes/patched.txt"]


def test_hosted_files_too_large(client, mark):
    """A command that leaves more than an environment may hold is told as having run, and its files go."""
    deep = "import os\nfor _ in range(300): os.mkdir('d'); os.chdir('d')\nprint('made')"
    files = [inline("/workspace/deep.py", deep)]
    session = finished(client, f"run echo before > kept # {mark}", {**HOSTED, "files": files})
    talk.turn(client, session.id, f"run echo after > kept; python3 deep.py # {mark} 2")
    item = command(client, session.id)
    assert (item.output, item.exit_code) == ("made\n", 0)
    assert "What it changed was not kept, because it is too large" in talk.said(client, session.id)[-1]
    talk.turn(client, session.id, f"run cat kept; ls # {mark} 3")
    assert command(client, session.id).output.split() == ["before", "deep.py", "kept", "outputs"]


def test_hosted_network_disabled(client, mark):
    probe = "exec 3<>/dev/tcp/127.0.0.1/22 || echo refused"
    session = finished(client, f"run bash -c '{probe}' 2>/dev/null # {mark}")
    assert command(client, session.id).output.strip() == "refused"


def test_hosted_isolation(client, server, mark):
    secret = server.data / "sealing.key"
    session = finished(client, f"run cat {secret} /etc/shadow; ls /root; touch /usr/x # {mark}")
    item = command(client, session.id)
    assert item.exit_code != 0
    assert "Read-only file system" in item.output or "Permission denied" in item.output
    assert item.output.count("No such file") + item.output.count("Permission denied") >= 2


def test_setup_failure(client, mark):
    setup = [{"command": f"echo why {mark}; exit 3"}]
    session = talk.create(client, f"run true # {mark}", environment={**HOSTED, "setup_commands": setup})
    failed = talk.settled(client, session.id, "failed")
    assert "exited with 3" in failed.error and mark in failed.error
    assert raw(client, "GET", f"/agents/environments/{session.environment.id}").json()["status"] == "failed"


def test_environment_without_input(client, mark):
    session = client.beta.agents.sessions.create(agent={"model": "m1"}, environment=HOSTED)
    assert session.status == "idle"
    ready(client, session.environment.id)
    client.beta.agents.environments.files.create(session.environment.id, **inline("/workspace/early.txt", mark))
    talk.turn(client, session.id, f"run cat early.txt # {mark}")
    assert command(client, session.id).output == mark


def test_restart_in_a_command(tmp_path, upstream, mark):
    """A command that the server's death cut off runs again on the files that were there before it."""
    server = Server(tmp_path, upstream.url)
    try:
        client = server.client
        text = f"run ls; echo x >> log; sleep 2; cat log > outputs/log; cat log # {mark}"
        session = talk.create(client, text, environment=HOSTED)
        wait.until(lambda: talk.items(client, session.id, "command_execution"), "the command to begin")
        copy = server.data / "environments" / session.environment.id / "files" / "log"
        wait.until(copy.exists, "the command to write")
        server.kill()
        server.start()
        client = server.client
        assert talk.ended(client, session.id)[0].status == "completed"
        item = command(client, session.id)
        assert (item.exit_code, item.output.split()) == (0, ["outputs", "x"]), "nothing of the first run is left"
        [artifact] = client.beta.agents.sessions.artifacts.list(session.id)
        read = client.beta.agents.sessions.artifacts.content(artifact.id, session_id=session.id).read()
        assert read == b"x\n"
        # The copy on the disk is only a copy.
        server.kill()
        shutil.rmtree(server.data / "environments")
        server.start()
        talk.turn(server.client, session.id, f"run cat log # {mark}")
        assert command(server.client, session.id).output == "x\n"
    finally:
        server.stop()


@pytest.mark.parametrize(
    "environment, param",
    [
        ({**HOSTED, "desktop": {"enabled": True}}, "environment.desktop"),
        ({**HOSTED, "network": {"access": "enabled"}}, "environment"),
        ({**HOSTED, "network": {"access": "restricted"}}, "environment.network.allowed_domains"),
        ({**HOSTED, "files": [inline("/etc/passwd", "x")]}, "environment.files[0].path"),
        ({**HOSTED, "env": {"PATH": "/x"}}, "environment.env"),
        ({**HOSTED, "packages": {"system": ["gcc"]}}, "environment.packages.system"),
    ],
)
def test_what_is_refused(client, environment, param):
    with refused(400, param=param):
        client.beta.agents.sessions.create(agent={"model": "m1"}, environment=environment, input="say x")


def test_hosted_network_restricted(client, mark):
    """The way out leads to the named hosts alone."""
    network = {"access": "restricted", "allowed_domains": ["allowed.example"]}
    ask = "import urllib.request as r\nfor host in ('other.example', 'localhost:80', '169.254.169.254'):\n"
    ask += " try: r.urlopen(f'http://{host}/')\n except r.HTTPError as e: print(host, e.code)\n except OSError as e: print(host, 'closed')"
    files = [inline("/workspace/workspace/ask.py", ask)]
    setup = [{"command": "python3 workspace/ask.py > early"}]
    environment = {**HOSTED, "network": network, "files": files, "setup_commands": setup}
    session = finished(client, f"run python3 workspace/ask.py | diff early - && cat early # {mark}", environment)
    lines = command(client, session.id).output.split("\n")
    # What is not on the list, the sandbox's own loopback, and an address instead of a name.
    assert lines == ["other.example 403", "localhost:80 closed", "169.254.169.254 400", ""]
    shown = session.environment.network
    assert (shown.access, shown.allowed_domains) == ("restricted", ["allowed.example"])
    for wrong in ("*.example", "10.0.0.1", "localhost"):
        environment = {**HOSTED, "network": {"access": "restricted", "allowed_domains": [wrong]}}
        with refused(400, param="environment", says=f"Invalid host '{wrong}'"):
            client.beta.agents.sessions.create(agent={"model": "m1"}, environment=environment, input="say x")


def test_environment_whose_files_are_lost(own_server, mark):
    """Conversation and settings survive; what commands left does not."""
    start = {**HOSTED, "files": [inline("/workspace/given.txt", mark)]}
    session = finished(own_server.client, f"run ls # {mark}", start)
    environment = session.environment.id
    database = own_server.data / "tenure.db"
    own_server.stop()
    before = blobs(database)
    own_server.start()
    talk.send(own_server.client, session.id, talk.message(f"run echo {mark} > /workspace/left.txt"))
    talk.ended(own_server.client, session.id, 2)
    own_server.stop()
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany("DELETE FROM blobs WHERE blob = ?", [(blob,) for blob in blobs(database) - before])
    shutil.rmtree(own_server.data / "environments")
    own_server.start()

    client = own_server.client
    events = talk.turn(client, session.id, f"run cat left.txt # {mark}")
    names = [name for name in talk.types(events) if name.startswith("environment.")]
    # The turn may end before the environment is ready again.
    assert names[:2] == ["environment.reset", "environment.pending"]
    reset = talk.only(events, "environment.reset")
    assert (reset.environment_id, reset.reset_count) == (environment, 1)
    lost = command(client, session.id)
    assert lost.status == "failed" and "made ready anew" in lost.output
    talk.send(client, session.id, talk.message(f"run ls # {mark}"))
    talk.ended(client, session.id, 4)
    assert command(client, session.id).output.split() == ["given.txt", "outputs"]


def blobs(database):
    """The digests of every payload that the server keeps."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return {blob for (blob,) in connection.execute("SELECT blob FROM blobs")}
