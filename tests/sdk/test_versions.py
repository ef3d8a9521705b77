"""Versions of saved agents: pinned sessions, going back, splits."""

import collections

import openai
import pytest

from harness import talk

SESSIONS = 200


def get(client, path):
    return client.get(f"/tenure{path}", cast_to=object)


def post(client, path, **body):
    return client.post(f"/tenure{path}", cast_to=object, body=body)


def split(client, agent, **weights):
    """`v1=70, v2=30`: so much of the new sessions each."""
    versions = [{"version": int(name[1:]), "weight": weight} for name, weight in weights.items()]
    return client.put(f"/tenure/agents/{agent.id}/split", cast_to=object, body={"versions": versions})


def started(client, agent, text, **options):
    return client.beta.agents.sessions.create(
        agent_id=agent.id, environment=talk.NONE, input=text, **options
    )


def version(client, session):
    return get(client, f"/sessions/{session.id}")["agent"]["version"]


def instructed(upstream, mark):
    """The instructions that went to the model with each request of a mark, oldest first."""
    return [seen.json["instructions"] for seen in upstream.calls(mark)]


def test_edits_are_invisible_to_running_sessions(client, upstream, mark):
    agents = client.beta.agents
    agent = agents.create(model="m1", instructions="first")
    with upstream.hold(mark) as gate:
        session = started(client, agent, f"say {mark}")
        gate.wait_arrival()
        agents.update(agent.id, instructions="second")
    talk.ended(client, session.id)
    talk.turn(client, session.id, f"say again {mark}")
    agents.delete(agent.id)
    talk.turn(client, session.id, f"say more {mark}")
    assert instructed(upstream, mark) == ["first"] * 3
    assert client.beta.agents.sessions.retrieve(session.id).agent.instructions == "first"
    assert version(client, session) == 1
    # Its version is readable for as long as anyone may ask what it ran.
    assert get(client, f"/agents/{agent.id}/versions/1")["agent"]["instructions"] == "first"


def test_rollback_is_for_new_sessions(client, mark):
    agents = client.beta.agents
    agent = agents.create(model="m1", instructions="good", metadata={"a": "1"})
    agents.update(agent.id, instructions="bad", metadata={})
    bad = started(client, agent, f"say {mark}")
    made = post(client, f"/agents/{agent.id}/rollback", version=1)
    assert (made["version"], made["restores"], made["author"]["type"]) == (3, 1, "key")
    now = agents.retrieve(agent.id)
    assert (now.instructions, now.metadata) == ("good", {"a": "1"})
    good = started(client, agent, f"say {mark}")
    assert (version(client, bad), version(client, good)) == (2, 3)
    versions = get(client, f"/agents/{agent.id}/versions?order=asc")["data"]
    assert [(one["version"], one["restores"]) for one in versions] == [(1, None), (2, None), (3, 1)]
    changes = get(client, f"/agents/{agent.id}/diff?from=2&to=3")["changes"]
    assert [change["path"] for change in changes] == ["instructions", "metadata.a"]
    assert get(client, f"/agents/{agent.id}/diff?from=1&to=3")["changes"] == []


def test_split_of_new_sessions(client, mark):
    agents = client.beta.agents
    agent = agents.create(model="m1", instructions="old")
    agents.update(agent.id, instructions="new")
    split(client, agent, v1=70, v2=30)
    sessions = [started(client, agent, f"say {mark}") for _ in range(SESSIONS)]
    chosen = {session.id: version(client, session) for session in sessions}
    count = collections.Counter(chosen.values())
    # Sixty are expected; the standard deviation is 6.5, and five of them happen once in two million runs.
    assert set(count) == {1, 2} and abs(count[2] - 60) <= 33, count
    for session in sessions[:5]:
        assert session.agent.instructions == {1: "old", 2: "new"}[chosen[session.id]]

    # A session's version is its own: no later change of the split moves it.
    split(client, agent, v1=0, v2=1)
    assert {session.id: version(client, session) for session in sessions} == chosen
    assert version(client, started(client, agent, f"say {mark}")) == 2
    client.delete(f"/tenure/agents/{agent.id}/split", cast_to=object)
    with pytest.raises(openai.NotFoundError):
        get(client, f"/agents/{agent.id}/split")


def test_a_repeated_request_gets_the_same_version(own_server, mark):
    client = own_server.client
    agent = client.beta.agents.create(model="m1", instructions="old")
    client.beta.agents.update(agent.id, instructions="new")
    split(client, agent, v1=1, v2=1)
    repeat = lambda index: started(
        own_server.client, agent, f"say {mark}", extra_headers={"Idempotency-Key": f"{mark}-{index}"}
    )
    first = {(session := repeat(index)).id: version(client, session) for index in range(12)}
    own_server.restart()
    again = {(session := repeat(index)).id: version(own_server.client, session) for index in range(12)}
    assert again == first
    assert len(first) == 12
