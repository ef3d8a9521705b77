"""Self-hosted environments: the customer's machine, whose executor connects."""

import random
import threading

import openai
import pytest
from openai.types.beta.agent_session_item import AgentSessionItem
from openai.types.beta.agents.environment_info import EnvironmentInfo

from harness import talk, wait
from harness.executor import Executor
from harness.server import KEY, Server
from harness.shape import raw, refused, valid, valid_as

# An executor that lost its connection dials again after at most half a minute, and is waited for longer.
RECONNECT_SECONDS = 60


@pytest.fixture
def place(tmp_path):
    """The customer's directory."""
    directory = tmp_path / "machine"
    directory.mkdir()
    return directory


@pytest.fixture
def environment(place):
    return {"type": "self_hosted", "workspace_directory": str(place)}


@pytest.fixture
def executor_key(client):
    return new_executor_key(client)


def new_executor_key(client):
    """A key that can do nothing but connect."""
    body = {"name": "executor", "scopes": ["environments.connect"]}
    made = raw(client, "POST", "/tenure/keys", body)
    assert made.status_code == 201, made.text
    return made.json()


def opened(client, environment, **options):
    return client.beta.agents.sessions.create(agent={"model": "m1"}, environment=environment, **options)


def status(client, session):
    response = raw(client, "GET", f"/agents/environments/{session.environment.id}")
    assert response.status_code == 200, response.text
    valid_as(EnvironmentInfo, response.json())
    return response.json()["status"]


def connected(client, session, wanted="connected"):
    look = lambda: status(client, session) == wanted
    wait.until(look, f"the environment to be {wanted}", deadline=RECONNECT_SECONDS)


def command(client, session):
    return talk.items(client, session.id, "command_execution")[-1]


def begun(client, session, count=1):
    look = lambda: len(talk.items(client, session.id, "command_execution")) >= count
    wait.until(look, "the command to begin")


class Sending(threading.Thread):
    """A message that is sent in the background; its outcome once it is answered."""

    def __init__(self, client, session, text):
        super().__init__(daemon=True)
        self.client, self.session, self.text, self.error = client, session, text, None
        self.start()

    def run(self):
        try:
            talk.send(self.client, self.session.id, talk.message(self.text))
        except openai.APIError as error:
            self.error = error

    def answered(self):
        self.join(wait.DEADLINE_SECONDS)
        assert not self.is_alive(), "the request was not answered"
        return self.error


def test_self_hosted_shape(client, environment):
    session = opened(client, {**environment, "capability_directories": ["/opt/skills/"]})
    assert session.status == "idle"
    shown = valid(session)["environment"]
    assert shown == {
        **environment,
        "id": session.environment.id,
        "remote_url": session.environment.remote_url,
        "capability_directories": ["/opt/skills"],
    }
    assert "/v1/agents/api/connect/rt_" in session.environment.remote_url
    assert status(client, session) == "ready"
    valid(client.beta.agents.sessions.retrieve(session.id))


def test_self_hosted_skills(server, upstream, environment, place, mark):
    """Skills in the customer's directories are looked for when the executor is there, once, and told to the model."""
    client = server.client
    (place / "skills" / "sum" / "more").mkdir(parents=True)
    (place / "skills" / "wrong").mkdir()
    about = f"---\nname: sum\ndescription: Adds {mark}.\n---\nAdd.\n"
    (place / "skills" / "sum" / "SKILL.md").write_text(about)
    (place / "skills" / "sum" / "more" / "SKILL.md").write_text(about)
    (place / "skills" / "wrong" / "SKILL.md").write_text("no front matter")
    directories = [str(place / "skills"), str(place / "none")]
    session = opened(client, {**environment, "capability_directories": directories}, input=f"say first {mark}")
    with Executor(session.environment, place, KEY):
        assert talk.ended(client, session.id)[0].status == "completed"
        (place / "skills" / "sum" / "SKILL.md").unlink()
        talk.turn(client, session.id, f"say second {mark}")
    instructions = {seen.json.get("instructions") for seen in upstream.calls(mark)}
    assert len(instructions) == 1, "it is the same at every step, whatever became of the files"
    index = [line for line in instructions.pop().split("\n") if line.startswith("- ")]
    assert index == [f"- sum: Adds {mark}. (file: {place}/skills/sum/SKILL.md)"]


@pytest.mark.parametrize(
    "wrong, param",
    [
        ({"workspace_directory": None}, "environment.workspace_directory"),
        ({"workspace_directory": "src"}, "environment.workspace_directory"),
        ({"workspace_directory": "/a/../b"}, "environment.workspace_directory"),
        ({"capability_directories": ["skills"]}, "environment.capability_directories[0]"),
        ({"env": {"A": "b"}}, "environment.env"),
    ],
)
def test_self_hosted_validation(client, environment, wrong, param):
    with refused(400, param=param):
        opened(client, {**environment, **wrong})


def test_self_hosted_requires_connection(client, environment, place, executor_key, mark):
    """A message is answered once an executor has connected, and then a turn begins."""
    session = opened(client, environment)
    with talk.subscribed(client, session.id) as stream:
        sending = Sending(client, session, f"run pwd; echo {mark}")
        [action] = talk.waiting(client, session.id)
        assert (action.type, action.environment_id) == ("environment_connection", session.environment.id)
        assert sending.is_alive(), "the message is not accepted yet"
        assert not talk.items(client, session.id)
        with Executor(session.environment, place, executor_key["key"]):
            assert sending.answered() is None
            events = talk.until(stream, "turn.completed")
            kinds = [kind for kind in talk.types(events) if "command_execution_output" not in kind]
            assert kinds[:5] == ["requires_action", "environment.connected", "idle", "turn.created", "turn.item.added"]
            item = command(client, session)
            valid_as(AgentSessionItem, item.to_dict(mode="json"))
            assert (item.output, item.exit_code, item.cwd) == (f"{place}\n{mark}\n", 0, str(place))
    connected(client, session, "disconnected")
    with refused(400, code="environment_not_connected"):
        list(client.beta.agents.environments.files.list(session.environment.id))


def test_self_hosted_first_message(client, environment, place, executor_key, mark):
    """A first message is accepted with its session, and waits in it."""
    session = opened(client, environment, input=f"run echo {mark} > made; sleep 0.2; cat made")
    assert session.status == "requires_action"
    with Executor(session.environment, place, executor_key["key"]):
        assert talk.ended(client, session.id)[0].status == "completed"
        assert command(client, session).output == f"{mark}\n"
        assert (place / "made").read_text() == f"{mark}\n"
        files = list(client.beta.agents.environments.files.list(session.environment.id))
        assert [(file.path, file.size_bytes) for file in files] == [(str(place / "made"), len(mark) + 1)]
        with refused(400, code="unsupported_feature"):
            client.beta.agents.environments.files.create(
                session.environment.id, type="inline", path="/workspace/a", data="eA=="
            )


def test_self_hosted_cancelled_wait(client, environment, mark):
    session = opened(client, environment)
    sending = Sending(client, session, f"run true # {mark}")
    talk.waiting(client, session.id)
    talk.send(client, session.id, talk.CANCEL)
    error = sending.answered()
    assert (error.status_code, error.body["code"]) == (400, "environment_not_connected")
    assert client.beta.agents.sessions.retrieve(session.id).status == "idle"
    assert not talk.items(client, session.id)
    client.beta.agents.sessions.delete(session.id)


def test_self_hosted_patch(client, environment, place, executor_key, mark):
    session = opened(client, environment)
    with Executor(session.environment, place, executor_key["key"]):
        connected(client, session)
        talk.turn(client, session.id, f"patch {mark}")
        item = command(client, session)
        assert (item.exit_code, item.output) == (0, "The patch was applied.\nA notes/patched.txt\n")
        assert (place / "notes" / "patched.txt").read_text()
        # It does not fit a second time, and changes nothing.
        talk.turn(client, session.id, f"patch {mark} again")
        item = command(client, session)
        assert item.exit_code == 1 and "exists already" in item.output


def test_self_hosted_output_deltas(server, environment, place, mark):
    client = server.client
    session = opened(client, environment)
    with Executor(session.environment, place, new_executor_key(client)["key"]):
        connected(client, session)
        events = talk.turn(client, session.id, f"run echo first; sleep 0.3; echo second # {mark}")
        deltas = [event.delta for event in events if event.type == "agent.output.command_execution_output.delta"]
        assert deltas == ["first\n", "second\n"], "what is written apart is told apart"
        talk.turn(client, session.id, f"run exit 7 # {mark}")
        assert (command(client, session).exit_code, command(client, session).status) == (7, "failed")
        talk.turn(client, session.id, f"run env | grep -c EXECUTOR_KEY # {mark}")
        assert command(client, session).output == "0\n", "the executor's key is its own"


def test_self_hosted_cancel(client, environment, place, executor_key, mark):
    session = opened(client, environment)
    with Executor(session.environment, place, executor_key["key"]):
        connected(client, session)
        talk.send(client, session.id, talk.message(f"run echo $$ > pid; sleep 600 # {mark}"))
        wait.until(lambda: (place / "pid").exists() and (place / "pid").read_text(), "the command to begin")
        talk.send(client, session.id, talk.CANCEL)
        assert talk.ended(client, session.id)[0].status == "cancelled"
        pid = (place / "pid").read_text().strip()
        dead = lambda: not process_runs(pid)
        wait.until(dead, "the process to be terminated")
        talk.turn(client, session.id, f"run echo usable # {mark}")
        assert command(client, session).output == "usable\n"


def process_runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_self_hosted_disconnect(client, environment, place, executor_key, mark):
    """An executor that dies with a command fails the command, and its turn goes on."""
    session = opened(client, environment)
    with Executor(session.environment, place, executor_key["key"]):
        connected(client, session)
        talk.send(client, session.id, talk.message(f"run touch begun; sleep 600 # {mark}"))
        wait.until((place / "begun").exists, "the command to begin")
    # A new one does not know the command, so its outcome is decided as soon as it is there.
    with Executor(session.environment, place, executor_key["key"]):
        look = lambda: command(client, session).status != "in_progress"
        wait.until(look, "the command to be given up", deadline=RECONNECT_SECONDS)
        item = command(client, session)
        assert item.status == "failed" and item.exit_code is None
        [turn] = talk.ended(client, session.id)
        assert turn.status == "completed"
        assert "outcome is unknown" in talk.said(client, session.id)[-1]


def test_self_hosted_direct(client, environment, place, executor_key, mark):
    """The direct transport signs with the pair of the key."""
    pair = executor_key["pair"]
    env = {"AWS_ACCESS_KEY_ID": pair["access_key_id"], "AWS_SECRET_ACCESS_KEY": pair["secret_access_key"]}
    session = opened(client, environment)
    with Executor(session.environment, place, None, args=["--transport", "direct"], env=env):
        connected(client, session)
        talk.turn(client, session.id, f"run echo {mark}")
        assert command(client, session).output == f"{mark}\n"


def test_self_hosted_keys(client, environment, place, executor_key):
    """A key of an executor connects, and does nothing else; another's connects to nothing."""
    session = opened(client, environment)
    key = executor_key["key"]
    assert raw(client, "GET", f"/agents/sessions/{session.id}", key=key).status_code == 403
    assert raw(client, "POST", "/agents/sessions", {}, key=key).status_code == 403
    path = session.environment.remote_url.split("/v1", 1)[1]
    register = f"{path}/cloud/environment/{session.environment.id}/register"
    plain = raw(client, "POST", "/tenure/keys", {"name": "plain"}).json()["key"]
    for key, body, expected in [(None, {}, 401), (plain, {}, 403), (executor_key["key"], {}, 400)]:
        assert raw(client, "POST", register, body, key=key).status_code == expected
    foreign = register.replace(session.environment.id, "env_" + "0" * 32)
    assert raw(client, "POST", foreign, {}, key=executor_key["key"]).status_code == 404
    direct = register.replace("/register", "/direct/register")
    assert raw(client, "POST", direct, {}, key=executor_key["key"]).status_code == 403
    socket = f"{path}/socket/proj_{'0' * 32}/x"
    assert raw(client, "GET", socket, key=None).status_code == 409
    with Executor(session.environment, place, "wrong") as executor:
        assert executor.ended() == 6, executor.tail()
    client.beta.agents.sessions.delete(session.id)
    with Executor(session.environment, place, executor_key["key"]) as executor:
        assert executor.ended() == 1, executor.tail()


def test_self_hosted_deletion(client, environment, place, executor_key):
    """The executor of a session that is deleted ends."""
    session = opened(client, environment)
    with Executor(session.environment, place, executor_key["key"]) as executor:
        connected(client, session)
        client.beta.agents.sessions.delete(session.id)
        assert executor.ended() == 1, executor.tail()


def test_self_hosted_restart(tmp_path, upstream, environment, place, mark):
    """The server dies while an executor is connected: it dials again, and nothing acknowledged is lost."""
    server = Server(tmp_path, upstream.url)
    port = server.url.rsplit(":", 1)[1].split("/")[0]
    try:
        client = server.client
        session = opened(client, environment)
        with Executor(session.environment, place, KEY):
            connected(client, session)
            talk.send(client, session.id, talk.message(f"run echo x >> log; touch begun; sleep 600 # {mark}"))
            wait.until((place / "begun").exists, "the command to begin")
            server.kill()
            server.start(port)
            client = server.client
            # What ran is never run again: the model is told that nobody knows what became of it.
            [turn] = talk.ended(client, session.id)
            item = command(client, session)
            assert (turn.status, item.status) == ("completed", "failed")
            assert (place / "log").read_text() == "x\n"
            # This waits for the executor, however soon it comes.
            Sending(client, session, f"run cat log # {mark}")
            begun(client, session, 2)
            talk.ended(client, session.id, 2)
            assert command(client, session).output == "x\n"
    finally:
        server.stop()


def test_self_hosted_restart_while_waiting(tmp_path, upstream, environment, place, mark):
    """A first message was acknowledged, so it is there after a crash; one that waits to be accepted is not."""
    server = Server(tmp_path, upstream.url)
    port = server.url.rsplit(":", 1)[1].split("/")[0]
    try:
        session = opened(server.client, environment, input=f"run echo first # {mark}")
        sending = Sending(server.new_client(max_retries=0), session, f"run echo second # {mark}")
        look = lambda: "connection_awaited" in raw(server.client, "GET", f"/tenure/sessions/{session.id}/journal").text
        wait.until(look, "the second message to wait")
        server.kill()
        assert isinstance(sending.answered(), openai.APIConnectionError)
        server.start(port)
        client = server.client
        [action] = talk.waiting(client, session.id)
        assert action.type == "environment_connection"
        with Executor(session.environment, place, KEY):
            talk.ended(client, session.id)
            assert command(client, session).output == "first\n"
            assert len(talk.items(client, session.id, "command_execution")) == 1
    finally:
        server.stop()


class Persistent(threading.Thread):
    """A message that is sent under one idempotency key until it is acknowledged, whatever dies meanwhile."""

    def __init__(self, server, session, text, key):
        super().__init__(daemon=True)
        self.server, self.session, self.text, self.key, self.acknowledged = server, session, text, key, threading.Event()
        self.start()

    def run(self):
        while not self.acknowledged.is_set():
            client = self.server.new_client(max_retries=0)
            try:
                talk.send(client, self.session.id, talk.message(self.text), idempotency_key=self.key)
                self.acknowledged.set()
            except openai.APIConnectionError:
                threading.Event().wait(wait.INTERVAL_SECONDS)
            finally:
                client.close()


def test_self_hosted_killed_over_and_over(tmp_path, upstream, environment, place, mark):
    """Kills at any moment, with the executor connected or on its way: each message once, each command at most once."""
    moments = random.Random(7)
    server = Server(tmp_path, upstream.url)
    port = server.url.rsplit(":", 1)[1].split("/")[0]
    rounds = range(5)
    texts = [f"run echo {number} >> ledger; sleep 0.1; echo ran # {mark}" for number in rounds]
    try:
        session = opened(server.client, environment)
        with Executor(session.environment, place, KEY):
            for number, text in zip(rounds, texts):
                sending = Persistent(server, session, text, f"{mark}-{number}")
                # Before it is accepted, before, while and after its command runs.
                threading.Event().wait(moments.uniform(0, 0.6))
                server.kill()
                server.start(port)
                wait.event(sending.acknowledged, "the message to be acknowledged", deadline=RECONNECT_SECONDS)
            turns = lambda: [turn.status for turn in server.client.beta.agents.sessions.turns.list(session.id)]
            look = lambda: turns() and all(status in talk.ENDED for status in turns())
            wait.until(look, "every turn to end", deadline=RECONNECT_SECONDS)
        talk.settled(server.client, session.id)
        assert talk.heard(server.client, session.id) == texts, "each message once, in order"
        assert set(turns()) == {"completed"}
        ran = (place / "ledger").read_text().split()
        assert len(ran) == len(set(ran)), "no command ran twice"
        for item in talk.items(server.client, session.id, "command_execution"):
            if item.status == "completed":
                assert item.output == "ran\n"
                assert item.command.split()[1] in ran
            else:
                assert item.status == "failed" and item.exit_code is None, "its outcome is unknown, or it was not run"
    finally:
        server.stop()
