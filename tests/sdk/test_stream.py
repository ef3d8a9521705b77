"""Event streams: order, framing, what is never lost and what is never repeated."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from openai.types.beta import AgentSessionEvent

from harness import talk, wait
from harness.server import KEY
from harness.shape import valid, valid_as

TEXT_TURN = [
    "turn.created",
    "turn.item.added",
    "in_progress",
    "turn.in_progress",
    "turn.item.added",
    "turn.content_part.added",
    "turn.output_text.delta",
    "turn.output_text.done",
    "turn.content_part.done",
    "turn.item.done",
    "turn.completed",
    "idle",
]


def without_repeats(types):
    """Types with runs of deltas as one."""
    last = [None, *types]
    return [kind for index, kind in enumerate(types) if not (kind == last[index] and kind.endswith(".delta"))]


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_create_stream_order(client, mark, model):
    events = talk.stream(client, f"say one two three {mark}", model)
    for event in events:
        valid_as(AgentSessionEvent, event.to_dict(mode="json", exclude_unset=True, use_api_names=True))
    assert without_repeats(talk.types(events)) == ["created", *TEXT_TURN]
    created, turn = events[0].session, talk.only(events, "turn.created").turn
    asked, answered = [event for event in events if event.type.endswith("turn.item.added")]
    assert (asked.item.role, asked.output_index) == ("user", None)
    assert asked.item.content[0].text == f"say one two three {mark}"
    assert (answered.item.role, answered.item.status, answered.item.content) == ("assistant", "in_progress", [])
    assert answered.output_index == 0
    deltas = [event for event in events if event.type.endswith("output_text.delta")]
    assert len(deltas) > 1
    assert "".join(event.delta for event in deltas) == f"one two three {mark}"
    assert talk.only(events, "turn.output_text.done").text == f"one two three {mark}"
    assert talk.only(events, "turn.content_part.added").part.text == ""
    assert talk.only(events, "turn.content_part.done").part.text == f"one two three {mark}"
    done = talk.only(events, "turn.item.done").item
    assert (done.status, done.content[0].text, done.id) == ("completed", f"one two three {mark}", answered.item.id)
    assert talk.only(events, "turn.completed").usage.total_tokens > 0
    inside = [event for event in events if event.type.startswith("agent.session.turn.")]
    assert {event.turn_id for event in inside} == {turn.id}
    assert {event.session_id for event in inside} == {created.id}
    assert events[-1].session.status == "idle"
    # What the last event says is true when it is read.
    assert client.beta.agents.sessions.retrieve(created.id).status == "idle"


def test_create_stream_closes(client, mark):
    events = talk.stream(client, f"say {mark}")
    assert talk.types(events)[-1] == "idle"
    # It stays open while the session waits for its client.
    sessions = client.beta.agents.sessions
    agent = {"model": "m1", "tools": [talk.function()]}
    with sessions.create(
        agent=agent, environment=talk.NONE, input=f"weather in Paris {mark}", stream=True
    ) as stream:
        waiting = talk.until(stream, "requires_action")[-1].session
        talk.send(client, waiting.id, talk.result(waiting.required_actions[0], "sunny"))
        rest = list(stream)
    assert talk.types(rest)[-2:] == ["turn.completed", "idle"]
    failed = talk.stream(client, f"fail 400 {mark}")
    assert talk.types(failed)[-3:] == ["error", "turn.failed", "idle"]


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_final_result(client, mark, model):
    with client.beta.agents.sessions.create(
        agent={"model": model}, environment=talk.NONE, input=f"say {mark}", stream=True
    ) as stream:
        result = stream.get_final_result()
    assert (result.output_text, result.turn.status) == (mark, "completed")
    # Text before a call is commentary and no part of the answer.
    with client.beta.agents.sessions.create(
        agent={"model": model, "tools": [talk.function()]},
        environment=talk.NONE,
        input=f"explain {mark}",
        stream=True,
        tool_handlers={"get_weather": lambda arguments: "sunny"},
    ) as stream:
        result = stream.get_final_result()
    assert result.output_text == "Weather: sunny"
    phases = [item.phase for item in talk.items(client, result.session_id, "message") if item.role == "assistant"]
    assert phases == ["commentary", "final_answer"]


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_stream_helper_two_turns(client, upstream, mark, model):
    session = talk.finished(client, f"say {mark}", model)
    with client.beta.agents.sessions.stream(session.id, input=f"recall {mark}") as stream:
        result = stream.get_final_result()
    # The model saw the first turn.
    assert result.output_text == f"You said {mark}"
    with client.beta.agents.sessions.stream(session.id, input=f"say third {mark}") as stream:
        assert stream.get_final_result().output_text == f"third {mark}"
    assert len(upstream.calls(mark)) == 3
    assert len(talk.ended(client, session.id, 3)) == 3


def test_events_raw_subscribe_first(client, mark):
    session = talk.finished(client, f"say {mark}")
    for number in range(5):
        with talk.subscribed(client, session.id) as events:
            talk.send(client, session.id, talk.message(f"say {number} {mark}"))
            heard = talk.until(events, "idle")
        assert without_repeats(talk.types(heard)) == TEXT_TURN


def test_event_ids_unique(client, mark):
    session = talk.finished(client, f"say {mark}")
    with talk.subscribed(client, session.id) as events:
        talk.send(client, session.id, talk.message(f"think {mark}"))
        heard = talk.until(events, "idle")
        talk.send(client, session.id, talk.message(f"say more words than one {mark}"))
        heard += talk.until(events, "idle")
    ids = [event.event_id for event in heard]
    assert all(ids) and len(set(ids)) == len(ids)


def test_sse_framing(server, client, mark):
    session = talk.finished(client, f"say {mark}")
    url = urlsplit(server.url)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    headers = {"Authorization": f"Bearer {KEY}", "OpenAI-Beta": "agents=v1", "Last-Event-ID": "7"}
    connection.request("GET", f"{url.path}/agents/sessions/{session.id}/events", headers=headers)
    # The headers come at once: nothing has happened yet that could have followed them.
    response = connection.getresponse()
    assert (response.status, response.getheader("content-type").split(";")[0]) == (200, "text/event-stream")
    assert response.getheader("x-request-id")
    talk.send(client, session.id, talk.message(f"say zwölf Bären {mark}"))
    frames, frame = [], []
    while not frames or frames[-1][0] != "event: agent.session.idle":
        line = response.readline().decode()
        assert line.endswith("\n") and "\r" not in line
        if line != "\n":
            frame.append(line[:-1])
        elif frame:
            frames.append(frame)
            frame = []
    connection.close()
    for event, data in frames:
        assert event.startswith("event: ") and data.startswith("data: ")
        assert json.loads(data[6:])["type"] == event[7:]
    told = [json.loads(data[6:]) for event, data in frames if event.endswith("output_text.done")]
    assert [event["text"] for event in told] == [f"zwölf Bären {mark}"]


def test_no_replay(client, mark):
    session = talk.finished(client, f"say old {mark}")
    headers = {"Last-Event-ID": "1"}
    with client.beta.agents.sessions.events.stream(session.id, extra_headers=headers) as events:
        talk.send(client, session.id, talk.message(f"say new {mark}"))
        heard = talk.until(events, "idle")
    assert talk.types(heard)[0] == "turn.created"
    [_, second] = talk.ended(client, session.id, 2)
    assert {event.turn_id for event in heard if hasattr(event, "turn_id")} == {second.id}


def test_stream_drop_recovers(client, upstream, mark):
    with upstream.hold(mark) as gate:
        sessions = client.beta.agents.sessions
        with sessions.create(
            agent={"model": "m1"}, environment=talk.NONE, input=f"say lasting {mark}", stream=True
        ) as stream:
            session = talk.until(stream, "turn.in_progress")[0].session
        gate.wait_arrival()
        # The stream is gone and the turn is not. Whoever comes back sees how it goes on.
        with talk.subscribed(client, session.id) as events:
            gate.open.set()
            rest = talk.until(events, "idle")
    assert talk.only(rest, "turn.completed").turn.status == "completed"
    assert talk.said(client, session.id) == [f"lasting {mark}"]
    ids = [item.id for item in talk.items(client, session.id)]
    added = [event.item.id for event in rest if event.type.endswith("item.added")]
    assert len(set(ids)) == 2 and set(added) <= set(ids)


def test_reasoning_summary(client, upstream, mark):
    events = talk.stream(client, f"think {mark}", agent={"reasoning": {"summary": "auto"}})
    wanted = ["turn.item.added", *(f"turn.reasoning_summary_{part}" for part in (
        "part.added", "text.delta", "text.done", "part.done")), "turn.item.done", "turn.output_text.done"]
    assert talk.subsequence(wanted, talk.types(events))
    session = events[0].session.id
    user, reasoning, message = talk.items(client, session)
    assert valid(reasoning)["summary"] == [{"type": "summary_text", "text": "First this, then that."}]
    assert (reasoning.type, reasoning.turn_id) == ("reasoning", message.turn_id)
    assert message.output_text == "Thought through."
    deltas = [event for event in events if event.type.endswith("summary_text.delta")]
    assert {event.item_id for event in deltas} == {reasoning.id}
    assert "".join(event.delta for event in deltas) == "First this, then that."
    places = [event.output_index for event in events if event.type.endswith("item.done")]
    assert places == [0, 1]
    assert upstream.calls(mark)[0].json["reasoning"]["summary"] == "auto"
    # The thinking goes back to the model that thought it, unseen by the client.
    talk.turn(client, session, f"say more {mark}")
    assert "encrypted" in str(upstream.calls(mark)[1].json["input"])


def test_idle_stream_survives(quiet, mark):
    wait.event(quiet.beat, "a heartbeat", deadline=30)
    talk.send(quiet.client, quiet.session.id, talk.message(f"say awake {mark}"))
    heard = talk.until(quiet.events, "idle")
    assert without_repeats(talk.types(heard)) == TEXT_TURN
