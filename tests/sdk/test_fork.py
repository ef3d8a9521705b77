"""Forks of sessions, going back, and the collection of what nobody refers to."""

import uuid

import openai
import pytest
from openai.types.beta.agent_session_item import AgentSessionItem

from harness import talk, wait
from harness.shape import valid_as
from test_environments import HOSTED, finished, paths

TOOLS = {"tools": [talk.function()]}


def get(client, path):
    return client.get(f"/tenure{path}", cast_to=object)


def post(client, path, key=None, **body):
    options = {"headers": {"Idempotency-Key": key}} if key else {}
    return client.post(f"/tenure{path}", cast_to=object, body=body, options=options)


def fork(client, session_id, key=None, **body):
    return post(client, f"/sessions/{session_id}/fork", key, **body)


def rewind(client, session_id, to, key=None):
    return post(client, f"/sessions/{session_id}/rewind", key, to=to)


def ids(client, session_id):
    return [item.id for item in talk.items(client, session_id)]


def run(client, session_id, line, turns):
    talk.send(client, session_id, talk.message(f"run {line}"))
    talk.ended(client, session_id, turns)
    return talk.items(client, session_id, "command_execution")[-1].output


def test_fork_has_the_conversation_and_goes_its_own_way(client, upstream, mark):
    parent = talk.finished(client, f"say one {mark}", metadata={"k": "v"})
    [first] = talk.ended(client, parent.id)
    talk.turn(client, parent.id, f"say two {mark}")
    child = fork(client, parent.id, at=first.id)
    assert child["object"] == "tenure.session"
    assert child["status"] == "idle"
    assert child["metadata"] == {"k": "v"}
    version = child["forked_from"]["version"]
    assert child["forked_from"] == {"session_id": parent.id, "version": version}
    assert talk.heard(client, child["id"]) == [f"say one {mark}"]
    [turn] = talk.ended(client, child["id"])
    assert turn.id != first.id and turn.status == "completed"
    for item in talk.items(client, child["id"]):
        valid_as(AgentSessionItem, item.to_dict(mode="json"))
        assert item.turn_id == turn.id
    assert not set(ids(client, child["id"])) & set(ids(client, parent.id)), "items have ids of their own"
    # Pages of items go on after any of them.
    items = client.beta.agents.sessions.items
    [only] = items.list(child["id"], order="asc", limit=1, after=ids(client, child["id"])[0]).data
    assert only.id == ids(client, child["id"])[1]

    talk.turn(client, child["id"], f"say three {mark}")
    assert talk.heard(client, child["id"]) == [f"say one {mark}", f"say three {mark}"]
    assert talk.heard(client, parent.id) == [f"say one {mark}", f"say two {mark}"]
    latest = upstream.calls(mark)[-1].json["input"]
    assert "say two" not in str(latest) and "say one" in str(latest)

    # A fork of a fork, as it is now.
    again = fork(client, child["id"])
    assert talk.heard(client, again["id"]) == talk.heard(client, child["id"])
    client.beta.agents.sessions.delete(parent.id)
    client.beta.agents.sessions.delete(child["id"])
    talk.turn(client, again["id"], f"say four {mark}")
    assert talk.heard(client, again["id"])[-1] == f"say four {mark}"


def test_fork_in_the_middle_of_a_turn_is_idle(client, upstream, mark):
    parent = talk.create(client, f"weather in Paris {mark}", agent=TOOLS)
    [action] = talk.waiting(client, parent.id)
    child = fork(client, parent.id)
    assert (child["status"], child["required_actions"]) == ("idle", [])
    [turn] = talk.ended(client, child["id"])
    assert turn.status == "cancelled"
    call, output = talk.items(client, child["id"])[1:]
    assert (call.status, output.type, output.call_id) == ("failed", "function_call_output", call.call_id)
    assert output.error.startswith("Interrupted: not repeated in a fork.")
    talk.turn(client, child["id"], f"say on {mark}")
    assert talk.said(client, child["id"])[-1] == f"on {mark}"
    # The strict recorder took the context: the call has a result there.
    told = [seen for seen in upstream.calls(mark)[-1].json["input"] if seen.get("type") == "function_call_output"]
    assert [seen["output"][:12] for seen in told] == ["Interrupted:"]
    with pytest.raises(openai.BadRequestError):
        talk.send(client, child["id"], talk.result(action, "sunny"))
    talk.send(client, parent.id, talk.result(action, f"sunny {mark}"))
    talk.ended(client, parent.id)
    assert talk.said(client, parent.id) == [f"Weather: sunny {mark}"]


def test_rewind_takes_the_session_back(client, upstream, mark):
    session = talk.finished(client, f"say one {mark}")
    [first] = talk.ended(client, session.id)
    before = ids(client, session.id)
    talk.turn(client, session.id, f"say two {mark}")
    second = ids(client, session.id)
    last = talk.ended(client, session.id, 2)[-1]

    with upstream.hold(mark) as gate:
        talk.send(client, session.id, talk.message(f"say three {mark}"))
        gate.wait_arrival()
        with pytest.raises(openai.ConflictError) as refusal:
            rewind(client, session.id, first.id)
        assert "cancel it first" in refusal.value.response.json()["detail"]
        talk.send(client, session.id, talk.CANCEL)
        talk.ended(client, session.id, 3)

    back = rewind(client, session.id, first.id)
    assert (back["id"], back["status"]) == (session.id, "idle")
    assert ids(client, session.id) == before, "what came after is no longer listed"
    assert [turn.id for turn in talk.ended(client, session.id)] == [first.id]
    with pytest.raises(openai.NotFoundError):
        client.beta.agents.sessions.turns.retrieve(last.id, session_id=session.id)
    talk.turn(client, session.id, f"say four {mark}")
    assert "say two" not in str(upstream.calls(mark)[-1].json["input"])
    assert talk.heard(client, session.id) == [f"say one {mark}", f"say four {mark}"]

    # What was given up is in the journal still: the session can go there again.
    rewind(client, session.id, last.id)
    assert ids(client, session.id) == second
    moments = get(client, f"/sessions/{session.id}/history?limit=100")["data"]
    went = [moment for moment in moments if moment["type"] == "rewound"]
    assert len(went) == 2 and went[0]["version"] < went[1]["version"]
    # By an item, and by a version, as the history has them.
    said = next(moment for moment in moments if moment["id"] == before[-1])
    rewind(client, session.id, before[-1])
    assert ids(client, session.id) == before
    rewind(client, session.id, said["version"])
    assert ids(client, session.id) == before


def test_fork_and_rewind_are_done_once(client, mark):
    session = talk.finished(client, f"say one {mark}")
    key = uuid.uuid4().hex
    child = fork(client, session.id, key)
    assert fork(client, session.id, key) == child, "the same request makes one fork"
    assert fork(client, session.id)["id"] != child["id"]
    with pytest.raises(openai.UnprocessableEntityError):
        fork(client, session.id, key, at=1)
    version = child["forked_from"]["version"]
    first = rewind(client, session.id, 3, key)
    assert rewind(client, session.id, 3, key) == first
    # The fork is as of then, whatever became of the session.
    again = fork(client, session.id, at=version)
    assert talk.heard(client, again["id"]) == [f"say one {mark}"]


def test_fork_begins_with_nothing_spent(client, mark):
    session = talk.finished(client, f"count {mark}", "priced", spend_control={"limit": 50})
    spent = client.beta.agents.sessions.retrieve(session.id).spend_control
    assert spent.consumed > 0
    child = fork(client, session.id)
    assert child["spend_control"]["limit"] == 50
    assert not child["spend_control"]["consumed"]
    assert child["usage"] is None
    # Going back gives nothing back.
    rewind(client, session.id, 2)
    assert client.beta.agents.sessions.retrieve(session.id).spend_control == spent


def test_moments_that_are_none_are_refused(client, mark):
    session = talk.finished(client, f"say one {mark}")
    for at in (0, 10_000, "sess_1", "soon", "turn_019b7a3c2e007c4a8a9f0123456789ab", True):
        with pytest.raises(openai.BadRequestError):
            fork(client, session.id, at=at)
        with pytest.raises(openai.BadRequestError):
            rewind(client, session.id, at)
    foreign = "sess_019b7a3c2e007c4a8a9f0123456789ab"
    for call in (fork, lambda client, session: rewind(client, session, 1)):
        with pytest.raises(openai.NotFoundError):
            call(client, foreign)
    client.beta.agents.sessions.delete(session.id)
    with pytest.raises(openai.NotFoundError):
        fork(client, session.id)


def test_files_are_those_of_the_moment(own_server, mark):
    client = own_server.client
    parent = finished(client, f"run echo one > a.txt # {mark}")
    [first] = talk.ended(client, parent.id)
    run(client, parent.id, f"echo two > b.txt # {mark}", 2)
    child = fork(client, parent.id, at=first.id)
    environment = child["environment"]["id"]
    assert environment != parent.environment.id
    assert paths(client, environment) == ["/workspace/a.txt"]
    assert run(client, child["id"], f"cat a.txt && echo three > c.txt # {mark}", 2) == "one\n"
    assert paths(client, environment) == ["/workspace/a.txt", "/workspace/c.txt"]
    assert paths(client, parent.environment.id) == ["/workspace/a.txt", "/workspace/b.txt"]

    # Without the session it came from, after a collection, and in another process.
    client.beta.agents.sessions.delete(parent.id)
    collected = post(client, "/collect", grace_seconds=3600)
    assert collected["payloads_removed"] == 0, "nothing is that old"
    own_server.restart()
    client = own_server.client
    assert run(client, child["id"], f"cat a.txt c.txt # {mark}", 3) == "one\nthree\n"

    # Back to the fork's own beginning, which is the parent's first turn.
    rewind(client, child["id"], 2)
    assert paths(client, environment) == ["/workspace/a.txt"]
    assert run(client, child["id"], f"ls # {mark}", 2).split() == ["a.txt", "outputs"]


def test_a_fork_does_not_repeat_a_command(server, mark):
    client = server.client
    parent = finished(client, f"run echo ready # {mark}")
    talk.send(client, parent.id, talk.message(f"run touch began; sleep 2; echo done > late.txt # {mark}"))
    wait.until(lambda: len(talk.items(client, parent.id, "command_execution")) == 2, "the command to begin")
    child = fork(client, parent.id)
    cut = talk.items(client, child["id"], "command_execution")[-1]
    assert (cut.status, cut.exit_code) == ("incomplete", None)
    talk.ended(client, parent.id, 2)
    assert paths(client, child["environment"]["id"]) == []
    assert "late.txt" in paths(client, parent.environment.id)[-1]
    assert run(client, child["id"], f"ls # {mark}", 3).split() == ["outputs"]


def test_collecting_needs_an_admin_and_an_hour(client):
    for grace in (0, 3599, "soon"):
        with pytest.raises(openai.BadRequestError):
            post(client, "/collect", grace_seconds=grace)
    assert post(client, "/collect")["object"] == "tenure.collection"
