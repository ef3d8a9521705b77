"""Environments that are made ready before they have a session."""

import threading

import pytest
from openai.types.beta.agents import EnvironmentInfo

from harness import talk, wait
from harness.server import Server
from harness.shape import raw, refused, valid_as
from test_environments import HOSTED, command, inline, paths


def prewarm(client, **changes):
    return client.beta.agents.environments.create(environment={**HOSTED, **changes})


def shaped(environment):
    return valid_as(EnvironmentInfo, environment.to_dict(mode="json", exclude_unset=True, use_api_names=True))


def status(client, environment_id, wanted):
    look = lambda: client.beta.agents.environments.retrieve(environment_id)
    return wait.until(lambda: (one := look()).status == wanted and one, f"the environment to be {wanted}")


def attach(client, environment_id, text=None, **options):
    environment = {"type": "openai_hosted", "environment_id": environment_id}
    options.update({"input": text} if text else {})
    return client.beta.agents.sessions.create(agent={"model": "m1"}, environment=environment, **options)


def test_prewarm_and_attach(client, mark):
    environments = client.beta.agents.environments
    made = prewarm(
        client,
        files=[inline("/workspace/in.txt", mark)],
        setup_commands=[{"command": "cat in.txt > made.txt"}],
        env={"GREETING": mark},
    )
    shown = shaped(made)
    assert shown["object"] == "agent.environment" and shown["type"] == "openai_hosted"
    assert [(file["path"], file["size_bytes"]) for file in shown["files"]] == [("/workspace/in.txt", len(mark))]
    assert status(client, made.id, "ready").id == made.id
    # Its files can be listed and placed before it has a session.
    assert paths(client, made.id) == ["/workspace/in.txt", "/workspace/made.txt"]
    environments.files.create(made.id, **inline("/workspace/early.txt", "early"))
    assert paths(client, made.id, path="/workspace") == [
        "/workspace/early.txt",
        "/workspace/in.txt",
        "/workspace/made.txt",
    ]
    session = attach(client, made.id, f"run cat made.txt early.txt; echo $GREETING # {mark}", metadata={"m": mark})
    assert session.environment.id == made.id and session.metadata == {"m": mark}
    talk.ended(client, session.id)
    assert command(client, session.id).output == f"{mark}early{mark}\n"
    assert environments.retrieve(made.id).status == "connected"
    assert [one.id for one in client.beta.agents.sessions.list(extra_query={"metadata[m]": mark})] == [session.id]


def test_an_environment_has_one_session(client, mark):
    made = prewarm(client)
    status(client, made.id, "ready")
    outcomes = []

    def try_it(number):
        try:
            outcomes.append(attach(client, made.id, f"say {mark} {number}").id)
        except Exception as error:
            outcomes.append((error.status_code, error.response.json()["error"]["code"]))

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sessions = [one for one in outcomes if isinstance(one, str)]
    assert len(sessions) == 1 and outcomes.count((409, "environment_taken")) == 5, outcomes
    talk.ended(client, sessions[0])
    with refused(409, param="environment.environment_id", code="environment_taken"):
        attach(client, made.id, "say again")
    # A session that is gone does not make it free.
    client.beta.agents.sessions.delete(sessions[0])
    with refused(409, code="environment_taken"):
        attach(client, made.id, "say again")


def test_attach_before_it_is_ready(client, mark):
    made = prewarm(client, setup_commands=[{"command": "sleep 0.5; echo done > made.txt"}])
    assert made.status == "pending"
    session = attach(client, made.id, f"run cat made.txt # {mark}")
    talk.ended(client, session.id)
    assert command(client, session.id).output == "done\n"


def test_attach_with_a_stream(client, mark):
    made = prewarm(client)
    status(client, made.id, "ready")
    environment = {"type": "openai_hosted", "environment_id": made.id}
    events = talk.stream(client, f"run pwd # {mark}", environment=environment)
    kinds = talk.types(events)
    assert kinds[:3] == ["created", "environment.ready", "environment.connected"], kinds
    assert kinds[-1] == "idle" and "turn.completed" in kinds


def test_an_unattached_environment_is_no_session(client, mark):
    made = prewarm(client)
    hidden = made.id.replace("env_", "sess_")
    status(client, made.id, "ready")
    for method, path in [
        ("GET", f"/agents/sessions/{hidden}"),
        ("DELETE", f"/agents/sessions/{hidden}"),
        ("GET", f"/agents/sessions/{hidden}/items"),
        ("GET", f"/agents/sessions/{hidden}/events"),
        ("GET", f"/agents/sessions/{hidden}/artifacts"),
    ]:
        assert raw(client, method, path).status_code == 404, path
    response = raw(client, "POST", f"/agents/sessions/{hidden}/events", {"events": [talk.message("say x")]})
    assert response.status_code == 404
    assert hidden not in [session.id for session in client.beta.agents.sessions.list(limit=100)]


def test_list_environments(client, mark):
    environments = client.beta.agents.environments
    made = [prewarm(client).id for _ in range(3)]
    listed = [one for one in environments.list(limit=2)]
    assert [one.id for one in listed if one.id in made] == made[::-1], "newest first"
    shaped(listed[0])
    assert [one.id for one in environments.list(order="asc", after=made[0]) if one.id in made] == made[1:]
    # Those that sessions were opened with are their sessions'.
    session = client.beta.agents.sessions.create(agent={"model": "m1"}, environment=HOSTED)
    assert session.environment.id not in [one.id for one in environments.list(limit=100)]


def test_prewarm_is_idempotent(client, mark):
    options = {"environment": HOSTED, "idempotency_key": f"key-{mark}"}
    first, again = (client.beta.agents.environments.create(**options) for _ in range(2))
    assert first.id == again.id
    with refused(409, code="idempotency_mismatch"):
        client.beta.agents.environments.create(**{**options, "environment": {**HOSTED, "env": {"A": "b"}}})


def test_prewarm_of_a_template(client, mark):
    templates = client.beta.agents.environments.templates
    template = templates.create(setup_commands=[{"command": f"echo {mark} > made.txt"}])
    environment = {"type": "openai_hosted", "environment_template_id": template.id}
    made = client.beta.agents.environments.create(environment=environment)
    templates.delete(template.id)
    session = attach(client, made.id, f"run cat made.txt # {mark}")
    talk.ended(client, session.id)
    assert command(client, session.id).output == f"{mark}\n"


def test_a_failed_environment_takes_no_session(client, mark):
    made = prewarm(client, setup_commands=[{"command": "exit 3"}])
    status(client, made.id, "failed")
    with refused(409, param="environment.environment_id", code="environment_failed"):
        attach(client, made.id, "say x")


@pytest.mark.parametrize(
    "body, code, param",
    [
        ({}, 400, "environment"),
        ({"environment": {"type": "none"}}, 400, "environment.type"),
        ({"environment": {"type": "self_hosted", "workspace_directory": "/w"}}, 400, "environment.type"),
        ({"environment": {**HOSTED, "container_size": "small"}}, 400, "environment.container_size"),
        ({"environment": {**HOSTED, "environment_id": "env_0"}}, 400, "environment.environment_id"),
        ({"environment": {**HOSTED, "environment_template_id": "x"}}, 404, "environment.environment_template_id"),
        ({"environment": HOSTED, "vault_ids": ["vault_1"]}, 404, "vault_ids[0]"),
        ({"environment": HOSTED, "colour": 1}, 400, "colour"),
    ],
)
def test_what_cannot_be_prewarmed(client, body, code, param):
    response = raw(client, "POST", "/agents/environments", body)
    assert (response.status_code, response.json()["error"]["param"]) == (code, param), response.text


def test_what_cannot_be_attached(client, mark):
    made = prewarm(client)
    for environment, code, param in [
        ({"environment_id": "env_0"}, 404, "environment.environment_id"),
        ({"environment_id": made.id, "env": {"A": "b"}}, 400, "environment.environment_id"),
        ({"environment_id": made.id, "container_size": "small"}, 400, "environment.environment_id"),
        ({"environment_id": made.id, "environment_template_id": "envtmpl_" + "0" * 32}, 400, "environment.environment_id"),
    ]:
        with refused(code, param=param):
            client.beta.agents.sessions.create(
                agent={"model": "m1"}, environment={"type": "openai_hosted", **environment}, input="say x"
            )
    # An environment that a session was opened with is not free either.
    session = client.beta.agents.sessions.create(agent={"model": "m1"}, environment=HOSTED)
    with refused(409, code="environment_taken"):
        attach(client, session.environment.id, "say x")
    # None of these took it.
    status(client, made.id, "ready")
    assert attach(client, made.id).environment.id == made.id


def test_kill_while_it_is_prepared(tmp_path, upstream, mark):
    """The preparation that a server's death cut off is made again, whether or not a session was opened meanwhile."""
    server = Server(tmp_path, upstream.url)
    try:
        setup = [{"command": "echo x >> log; sleep 1; cp log made.txt"}]
        made = [prewarm(server.client, setup_commands=setup) for _ in range(2)]
        copies = [server.data / "environments" / one.id / "files" / "log" for one in made]
        wait.until(lambda: all(copy.exists() for copy in copies), "the setup to begin")
        session = attach(server.client, made[1].id, f"run cat log made.txt # {mark}")
        server.restart()
        client = server.client
        status(client, made[0].id, "ready")
        other = attach(client, made[0].id, f"run cat log made.txt # {mark} 2")
        for one in (session, other):
            talk.ended(client, one.id)
            assert command(client, one.id).output == "x\nx\n", "nothing of the first run is left"
        server.restart()
        for one in made:
            with refused(409, code="environment_taken"):
                attach(server.client, one.id, "say again")
    finally:
        server.stop()


def test_it_expires(tmp_path, upstream, mark):
    server = Server(tmp_path, upstream.url, environments={"prewarmed_seconds": 1})
    try:
        client = server.client
        made = prewarm(client)
        status(client, made.id, "expired")
        with refused(409, param="environment.environment_id", code="environment_expired"):
            attach(client, made.id, "say x")
        with refused(400, code="environment_not_connected"):
            client.beta.agents.environments.files.create(made.id, **inline("/workspace/a", "x"))
    finally:
        server.stop()


def test_suspended_and_resumed(tmp_path, upstream, mark):
    """An idle environment leaves the disk, and comes back when it is needed."""
    server = Server(tmp_path, upstream.url, environments={"suspend_seconds": 1})
    try:
        client = server.client
        session = talk.create(client, f"run echo {mark} > kept # {mark}", environment=HOSTED)
        talk.ended(client, session.id)
        copy = server.data / "environments" / session.environment.id
        with talk.subscribed(client, session.id):
            status(client, session.environment.id, "suspended")
            wait.until(lambda: not copy.exists(), "the copy to be removed")
            assert paths(client, session.environment.id) == ["/workspace/kept"], "its files can be read meanwhile"
            talk.send(client, session.id, talk.message(f"run cat kept # {mark}"))
            talk.ended(client, session.id, 2)
        assert command(client, session.id).output == f"{mark}\n"
        status(client, session.environment.id, "suspended")
        server.restart()
        assert server.client.beta.agents.environments.retrieve(session.environment.id).status == "suspended"
    finally:
        server.stop()
