"""Subagents: agents that a session's agent creates; clients only read what they did."""

import pytest
from openai.types.beta.agent_session_item import AgentSessionItem

from harness import talk, wait
from harness.shape import raw, refused, valid, valid_as

TEAM = {"multi_agent": {"enabled": True}}


def of(client, session_id):
    """The session's subagents, oldest first."""
    return list(client.beta.agents.sessions.subagents.list(session_id, order="asc"))


def test_subagents_empty(client, mark):
    sessions = client.beta.agents.sessions
    session = talk.finished(client, f"say {mark}")
    page = sessions.subagents.list(session.id)
    assert (page.data, page.has_more, page.first_id, page.last_id) == ([], False, None, None)
    for call in (
        lambda: sessions.subagents.retrieve("subagent_0", session_id=session.id),
        lambda: sessions.subagents.items.list("subagent_0", session_id=session.id),
        lambda: sessions.subagents.turns.list("subagent_0", session_id=session.id),
        lambda: sessions.subagents.list("sess_0"),
    ):
        with refused(404, kind="not_found_error"):
            call()
    for limit in (0, 101):
        with refused(400):
            sessions.subagents.list(session.id, limit=limit)
    assert session.agent.multi_agent.enabled is False


def test_subagent_spawn(client, upstream, mark):
    sessions = client.beta.agents.sessions
    events = talk.stream(client, f"delegate say found {mark}", agent=TEAM)
    created = valid(talk.only(events, "subagent.created").subagent)
    session = sessions.retrieve(events[0].session.id)
    assert session.agent.multi_agent.max_concurrent_subagents == 6
    [scout] = of(client, session.id)
    assert valid(scout) == created
    assert created == {
        "id": scout.id,
        "object": "agent.session.subagent",
        "session_id": session.id,
        "parent_agent_id": session.agent.id,
        "name": "scout",
        "instructions": [{"type": "output_text", "text": f"say found {mark}"}],
        "status": "active",
        "opened_at": created["opened_at"],
        "closed_at": None,
    }
    assert sessions.subagents.retrieve(scout.id, session_id=session.id) == scout

    user, create, waited, message, answer = talk.items(client, session.id)
    for item in (create, waited, message):
        valid_as(AgentSessionItem, item.to_dict(mode="json"))
    assert create.to_dict() == {
        "id": create.id,
        "type": "create_subagent_call",
        "turn_id": user.turn_id,
        "agent_id": session.agent.id,
        "content": [{"type": "output_text", "text": f"say found {mark}"}],
        "model": None,
        "reasoning_effort": None,
        "status": "completed",
    }
    assert (waited.type, waited.status) == ("wait_for_subagents_call", "completed")
    assert (waited.sender_agent_id, waited.recipient_agent_ids) == (session.agent.id, [scout.id])
    assert message.to_dict() == {
        "id": message.id,
        "type": "agent_message",
        "turn_id": user.turn_id,
        "sender_agent_id": scout.id,
        "recipient_agent_id": session.agent.id,
        "content": [{"type": "output_text", "text": f"found {mark}"}],
    }
    assert answer.output_text.strip() == f"Reports: completed found {mark}"

    # What the subagent did is read beneath the session, and nowhere else.
    [turn] = sessions.subagents.turns.list(scout.id, session_id=session.id)
    assert (turn.agent_id, turn.subagent_id, turn.session_id) == (session.agent.id, scout.id, session.id)
    assert (turn.status, valid(turn)["object"]) == ("completed", "agent.session.turn")
    found = sessions.subagents.turns.retrieve(turn.id, session_id=session.id, subagent_id=scout.id)
    assert found == turn
    history = list(sessions.subagents.items.list(scout.id, session_id=session.id, order="asc"))
    assert [item.type for item in history] == ["agent_message", "message"]
    assert (history[0].sender_agent_id, history[0].recipient_agent_id) == (session.agent.id, scout.id)
    assert history[1].content[0].text == f"found {mark}"
    of_turn = sessions.subagents.turns.items.list(
        turn.id, session_id=session.id, subagent_id=scout.id, order="asc"
    )
    assert [item.id for item in of_turn] == [item.id for item in history]
    assert [root.subagent_id for root in sessions.turns.list(session.id)] == [None]
    with refused(404):
        sessions.turns.retrieve(turn.id, session_id=session.id)
    hidden = scout.id.replace("subagent_", "sess_")
    assert all(listed.id != hidden for listed in sessions.list(limit=100))
    for method, path in (("GET", ""), ("GET", "/items"), ("GET", "/events"), ("DELETE", "")):
        assert raw(client, method, f"/agents/sessions/{hidden}{path}").status_code == 404
    body = {"events": [talk.message("say it from outside")]}
    assert raw(client, "POST", f"/agents/sessions/{hidden}/events", body).status_code == 404

    # The subagent was offered nothing of its parent's, and the stream showed nothing of its turn.
    child = [call.json for call in upstream.calls(mark) if "subagent `scout`" in call.body.decode()]
    assert len(child) == 1 and not child[0].get("tools")
    turns = {event.turn_id for event in events if getattr(event, "turn_id", None)}
    assert turns == {user.turn_id}
    usage = sessions.retrieve(session.id).usage
    [root] = talk.ended(client, session.id)
    assert usage.total_tokens == root.usage.total_tokens, "a session's usage is that of its root turns"


def test_subagent_paging(client, mark):
    sessions = client.beta.agents.sessions
    session = talk.finished(client, f"delegate twice say {mark}", agent=TEAM)
    first, second = of(client, session.id)
    assert (first.name, second.name) == ("subagent-1", "subagent-2")
    assert [one.id for one in sessions.subagents.list(session.id)] == [second.id, first.id]
    page = sessions.subagents.list(session.id, limit=1, order="asc")
    assert ([one.id for one in page.data], page.has_more) == ([first.id], True)
    assert [one.id for one in sessions.subagents.list(session.id, limit=1)] == [second.id, first.id]
    assert [one.id for one in sessions.subagents.list(session.id, after=second.id).data] == [first.id]
    with refused(400):
        sessions.subagents.list(session.id, after=session.id)
    assert [item.type for item in talk.items(client, session.id)].count("agent_message") == 2


def test_subagent_close_and_resume(client, mark):
    sessions = client.beta.agents.sessions
    session = talk.finished(client, f"delegate say one {mark}", agent=TEAM)
    events = talk.turn(client, session.id, "close scout")
    closed = talk.only(events, "subagent.closed").subagent
    assert (closed.status, closed.closed_at is None) == ("closed", False)
    events = talk.turn(client, session.id, f"tell scout say two {mark}")
    active = talk.only(events, "subagent.active").subagent
    assert (active.status, active.closed_at, active.opened_at) == ("active", None, closed.opened_at)
    kinds = [item.type for item in talk.items(client, session.id)][-6:]
    assert kinds[1:5] == [
        "resume_subagent_call",
        "send_subagent_input_call",
        "wait_for_subagents_call",
        "agent_message",
    ]
    assert talk.said(client, session.id)[-1].strip() == f"Reports: completed two {mark}"
    turns = sessions.subagents.turns.list(active.id, session_id=session.id)
    assert [turn.status for turn in turns] == ["completed", "completed"]


def test_subagent_cancel(client, mark):
    sessions = client.beta.agents.sessions
    session = talk.create(client, f"delegate stall {mark}", agent=TEAM)
    scout = wait.until(lambda: of(client, session.id), "the subagent")[0]
    look = lambda: list(sessions.subagents.turns.list(scout.id, session_id=session.id))
    wait.until(lambda: [turn.status for turn in look()] == ["in_progress"], "its turn to run")
    with refused(409):
        sessions.delete(session.id)
    talk.send(client, session.id, talk.CANCEL)
    [turn] = talk.ended(client, session.id)
    assert turn.status == "cancelled"
    wait.until(lambda: [turn.status for turn in look()] == ["cancelled"], "its turn to be cancelled")
    assert sessions.subagents.retrieve(scout.id, session_id=session.id).status == "active"
    # The next turn finds it as it was left.
    talk.turn(client, session.id, f"tell scout say alive {mark}")
    assert talk.said(client, session.id)[-1].strip() == f"Reports: completed alive {mark}"
    assert sessions.delete(session.id).deleted
    with refused(404):
        sessions.subagents.list(session.id)


def test_subagent_survives_a_kill(own_server, mark):
    client = own_server.client
    session = talk.create(client, f"delegate stall {mark}", "m1", agent=TEAM)
    scout = wait.until(lambda: of(client, session.id), "the subagent")[0]
    own_server.restart()
    client = own_server.client
    sessions = client.beta.agents.sessions
    look = lambda: list(sessions.subagents.turns.list(scout.id, session_id=session.id))
    assert [turn.status for turn in look()] == ["in_progress"]
    assert sessions.retrieve(session.id).status == "in_progress"
    talk.send(client, session.id, talk.CANCEL)
    wait.until(lambda: [turn.status for turn in look()] == ["cancelled"], "its turn to be cancelled")


@pytest.mark.parametrize("limit", [100_000, None])
def test_spend_control_over_a_tree(client, mark, limit):
    sessions = client.beta.agents.sessions
    spend = {"limit": 100_000}
    session = talk.finished(client, f"delegate count {mark}", "priced", agent=TEAM, spend_control=spend)
    # Three steps of the root at 11 cents, and the subagent's one at 1.8.
    assert valid(session)["spend_control"] == {"limit": 100_000, "consumed": 34}
    sessions.update(session.id, spend_control={"limit": 40})
    talk.turn(client, session.id, f"tell scout count {mark}")
    turns = talk.ended(client, session.id, 2)
    assert (turns[-1].status, turns[-1].error.code) == ("failed", "session_budget_exceeded")
    assert sessions.retrieve(session.id).spend_control.consumed == 34, "what was refused costs nothing"
    assert len(talk.items(client, session.id)) == 6, "history stays"
    sessions.update(session.id, spend_control={"limit": limit} if limit else None)
    talk.turn(client, session.id, f"tell scout count {mark}")
    assert talk.ended(client, session.id, 3)[-1].status == "completed"
    [scout] = of(client, session.id)
    turns = list(sessions.subagents.turns.list(scout.id, session_id=session.id))
    assert [turn.status for turn in turns] == ["completed", "completed"]
