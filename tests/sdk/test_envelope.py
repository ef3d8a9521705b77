"""Keys, the beta header, errors, lists."""

import openai
import pytest

from harness import talk
from harness.shape import raw, refused


def test_auth_required(server, client):
    with server.new_client(api_key="wrong") as stranger:
        with pytest.raises(openai.AuthenticationError) as wrong:
            stranger.beta.agents.list()
    assert wrong.value.response.json()["error"]["type"] == "invalid_request_error"
    missing = raw(client, "GET", "/agents", key=None)
    assert (missing.status_code, "www-authenticate" in missing.headers) == (401, True)
    # Nobody learns whether a key is missing, wrong or cut short.
    assert missing.json()["error"]["type"] == "invalid_request_error"
    assert raw(client, "GET", "/agents", key=client.api_key[:-1]).json() == wrong.value.response.json()


def test_beta_header_required(client):
    for path in ("/agents", "/agents/sessions"):
        answer = raw(client, "GET", path, headers={"OpenAI-Beta": None})
        assert answer.status_code == 400
        assert (answer.json()["error"]["type"], answer.json()["error"]["code"]) == ("invalid_beta", "invalid_beta")


def test_not_found_shape(client):
    agents, sessions = client.beta.agents, client.beta.agents.sessions
    for look in (
        lambda: agents.retrieve("agt_missing"),
        lambda: agents.retrieve("!"),
        lambda: sessions.retrieve("sess_missing"),
        lambda: sessions.items.list("sess_missing"),
        lambda: sessions.turns.retrieve("turn_missing", session_id="sess_missing"),
        lambda: sessions.delete("sess_missing"),
        lambda: sessions.events.create("sess_missing", events=[talk.CANCEL]),
    ):
        with refused(404, kind="not_found_error"):
            look()


def test_request_id_header(client):
    good = client.beta.agents.with_raw_response.list()
    other = client.beta.agents.with_raw_response.list()
    assert good.headers["x-request-id"] and good.headers["x-request-id"] != other.headers["x-request-id"]
    with pytest.raises(openai.NotFoundError) as missing:
        client.beta.agents.retrieve("agt_missing")
    assert missing.value.request_id


def test_unknown_param_400(client):
    agents, sessions = client.beta.agents, client.beta.agents.sessions
    with refused(400, kind="invalid_request_error", param="surprise", says="Unknown parameter: 'surprise'."):
        agents.create(model="m1", extra_body={"surprise": 1})
    with refused(400, param="agent.surprise", says="Unknown parameter: 'agent.surprise'."):
        sessions.create(agent={"model": "m1", "surprise": 1}, environment=talk.NONE, input="say x")
    with refused(400, param="reasoning.surprise"):
        agents.create(model="m1", reasoning={"surprise": 1})
    # Unknown query keys are no mistake, repeated ones are.
    assert agents.list(extra_query={"surprise": "1"}).data is not None
    assert raw(client, "GET", "/agents?limit=1&limit=2").status_code == 400


def test_invalid_values_400(client):
    agents, sessions = client.beta.agents, client.beta.agents.sessions
    with refused(400, param="model"):
        agents.create(model=None)
    with refused(400, param="model", says="Missing required parameter: 'model'."):
        agents.create(model=openai.omit)
    with refused(400, param="service_tier", says="Supported values"):
        agents.create(model="m1", service_tier="golden")
    with refused(400, param="reasoning.effort", says="Invalid value: 'some'"):
        agents.create(model="m1", reasoning={"effort": "some"})
    with refused(400, param="tools", says="Invalid type for 'tools'"):
        agents.create(model="m1", extra_body={"tools": "none"})
    with refused(400, param="name"):
        agents.create(model="m1", name="n" * 129)
    schema = {"type": "function", "name": "f", "description": "", "parameters": {"type": "string"}}
    with refused(400, param="tools[0].parameters"):
        agents.create(model="m1", tools=[schema])
    with refused(400, param="agent.tools[0].parameters"):
        sessions.create(agent={"model": "m1", "tools": [schema]}, environment=talk.NONE, input="say x")
    with refused(400, param="environment.type"):
        sessions.create(agent={"model": "m1"}, environment={"type": "moon"}, input="say x")
    for body in (b"[]", b'"text"', b"{", b'{"model":"m1","model":"m2"}', b'{"model":NaN}'):
        assert raw(client, "POST", "/agents", body).status_code == 400, body


def test_status_codes(client, mark):
    agents, sessions = client.beta.agents, client.beta.agents.sessions
    made = agents.with_raw_response.create(model="m1")
    agent = made.parse()
    opened = sessions.with_raw_response.create(agent_id=agent.id, environment=talk.NONE, input=f"say {mark}")
    session = opened.parse()
    talk.ended(client, session.id)
    sent = raw(client, "POST", f"/agents/sessions/{session.id}/events", {"events": [talk.CANCEL]})
    assert (made.status_code, opened.status_code, sent.status_code) == (201, 201, 202)
    assert sent.content == b""
    for answer in (
        agents.with_raw_response.retrieve(agent.id),
        agents.with_raw_response.update(agent.id, name="renamed"),
        agents.with_raw_response.list(),
        sessions.with_raw_response.retrieve(session.id),
        sessions.with_raw_response.update(session.id, metadata={"a": "b"}),
        sessions.with_raw_response.delete(session.id),
        agents.with_raw_response.delete(agent.id),
    ):
        assert answer.status_code == 200
    body = {"agent": {"model": "m1"}, "environment": talk.NONE, "input": f"say {mark}", "stream": True}
    streamed = raw(client, "POST", "/agents/sessions", body)
    assert streamed.status_code == 201
    assert streamed.headers["content-type"].startswith("text/event-stream")


def test_empty_list_envelope(client, mark):
    empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    session = talk.finished(client, f"say {mark}")
    for path in (
        f"/agents/sessions?metadata[mark]={mark}",
        f"/agents/sessions/{session.id}/subagents",
        f"/agents/sessions/{session.id}/artifacts",
    ):
        assert raw(client, "GET", path).json() == empty, path


def test_limits_of_lists(client, mark):
    session = talk.finished(client, f"say {mark}").id
    # Agents, sessions and items clamp; turns refuse.
    for path in ("/agents", "/agents/sessions", f"/agents/sessions/{session}/items"):
        for limit in ("0", "1000"):
            assert raw(client, "GET", f"{path}?limit={limit}").status_code == 200, path
        assert raw(client, "GET", f"{path}?limit=many").status_code == 400, path
    for limit in ("0", "101"):
        answer = raw(client, "GET", f"/agents/sessions/{session}/turns?limit={limit}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "limit")


def test_idempotency_keys(client, mark):
    agents, sessions = client.beta.agents, client.beta.agents.sessions
    keyed = lambda name: {"extra_headers": {"Idempotency-Key": f"{mark}-{name}"}}

    agent = agents.create(model="m1", name=mark, **keyed("agent"))
    assert agents.create(model="m1", name=mark, **keyed("agent")).id == agent.id
    with refused(409):
        agents.create(model="m2", name=mark, **keyed("agent"))

    changed = agents.update(agent.id, instructions="once", **keyed("update"))
    assert agents.update(agent.id, instructions="once", **keyed("update")).updated_at == changed.updated_at
    with refused(409):
        agents.update(agent.id, instructions="twice", **keyed("update"))

    open_one = lambda text: sessions.create(
        agent_id=agent.id, environment=talk.NONE, input=text, **keyed("session")
    )
    session = open_one(f"say {mark}")
    assert open_one(f"say {mark}").id == session.id
    with refused(409):
        open_one(f"say other {mark}")
    assert len(list(sessions.list(agent_id=agent.id))) == 1

    talk.ended(client, session.id)
    sessions.update(session.id, metadata={"a": "b"}, **keyed("change"))
    sessions.update(session.id, metadata={"c": "d"})
    # A repeat changes nothing again.
    sessions.update(session.id, metadata={"a": "b"}, **keyed("change"))
    assert sessions.retrieve(session.id).metadata == {"c": "d"}
    with refused(409):
        sessions.update(session.id, metadata={"e": "f"}, **keyed("change"))
    with refused(400):
        agents.create(model="m1", extra_headers={"Idempotency-Key": "k" * 257})
