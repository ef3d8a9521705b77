"""Items and turns: what is kept, and what messages do while a turn runs."""

import pytest
from pydantic import BaseModel

from harness import talk, wait
from harness.shape import raw, refused, valid

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class City(BaseModel):
    city: str
    people: int


def test_item_sequence(client, mark):
    session = talk.finished(client, f"say {mark}")
    talk.turn(client, session.id, f"say more {mark}")
    found = talk.items(client, session.id)
    for item in found:
        valid(item)
    assert [item.role for item in found] == ["user", "assistant", "user", "assistant"]
    user, assistant = valid(found[0]), valid(found[1])
    assert user == {
        "id": user["id"],
        "type": "message",
        "role": "user",
        "status": "completed",
        "phase": None,
        "turn_id": user["turn_id"],
        "content": [{"type": "input_text", "text": f"say {mark}"}],
    }
    assert assistant == {
        "id": assistant["id"],
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "phase": "final_answer",
        "turn_id": user["turn_id"],
        "content": [{"type": "output_text", "text": mark}],
    }
    assert found[0].turn_id != found[2].turn_id


def test_items_list(client, mark):
    session = talk.finished(client, f"say one {mark}").id
    for word in ("two", "three"):
        talk.turn(client, session, f"say {word} {mark}")
    sessions = client.beta.agents.sessions
    ascending = [item.id for item in sessions.items.list(session, order="asc", limit=2)]
    assert len(ascending) == 6
    assert [item.id for item in sessions.items.list(session, limit=4)] == ascending[::-1]
    page = sessions.items.list(session, order="asc", after=ascending[1], limit=2)
    assert ([item.id for item in page.data], page.has_more) == (ascending[2:4], True)
    envelope = raw(client, "GET", f"/agents/sessions/{session}/items").json()
    assert (envelope["object"], envelope["first_id"]) == ("list", ascending[-1])
    assert (envelope["last_id"], envelope["has_more"]) == (ascending[0], False)


def test_turns_list(client, mark):
    session = talk.finished(client, f"say one {mark}")
    talk.turn(client, session.id, f"say two {mark}")
    turns = client.beta.agents.sessions.turns
    first, second = talk.ended(client, session.id, 2)
    assert [turn.id for turn in turns.list(session.id, limit=1)] == [second.id, first.id]
    assert [turn.id for turn in turns.list(session.id, after=second.id)] == [first.id]
    shape = valid(turns.retrieve(first.id, session_id=session.id))
    times = [shape.pop(key) for key in ("created_at", "started_at", "completed_at")]
    assert times == sorted(times)
    assert shape.pop("usage")["total_tokens"] > 0
    assert shape == {
        "id": first.id,
        "object": "agent.session.turn",
        "session_id": session.id,
        "agent_id": session.agent.id,
        "subagent_id": None,
        "status": "completed",
        "error": None,
        "prompt_cache_options": None,
    }
    with refused(404):
        turns.retrieve("turn_missing", session_id=session.id)
    other = talk.finished(client, f"say {mark}")
    with refused(404):
        turns.retrieve(first.id, session_id=other.id)


def test_turn_items_list(client, mark):
    session = talk.finished(client, f"say one {mark}")
    talk.turn(client, session.id, f"say two {mark}")
    lists = client.beta.agents.sessions.turns.items
    for turn, word in zip(talk.ended(client, session.id, 2), ("one", "two")):
        found = list(lists.list(turn.id, session_id=session.id, order="asc", limit=1))
        assert [item.turn_id for item in found] == [turn.id, turn.id]
        assert found[1].output_text == f"{word} {mark}"
    with refused(404):
        lists.list("turn_missing", session_id=session.id)


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_usage_recorded(client, mark, model):
    usage = {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 18,
    }
    events = talk.stream(client, f"count {mark}", model)
    completed = talk.only(events, "turn.completed")
    assert completed.usage.to_dict() == completed.turn.usage.to_dict() == usage
    session = events[0].session.id
    talk.turn(client, session, f"count again {mark}")
    assert [turn.usage.total_tokens for turn in talk.ended(client, session, 2)] == [18, 18]
    total = client.beta.agents.sessions.retrieve(session).usage
    assert (total.total_tokens, total.input_tokens_details.cached_tokens) == (36, 6)


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_structured_output(client, upstream, mark, model):
    with client.beta.agents.sessions.create(
        agent={"model": model}, environment=talk.NONE, input=f"json {mark}", stream=True, output_type=City
    ) as stream:
        assert stream.get_final_result().output_parsed == City(city="Paris", people=2)
    [call] = upstream.calls(mark)
    sent = call.json["text"]["format"] if model == "m1" else call.json["response_format"]["json_schema"]
    assert sent["schema"]["required"] == ["city", "people"]
    assert sent["name"]


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_image_input(client, upstream, mark, model):
    content = [{"type": "input_text", "text": f"look {mark}"}, {"type": "input_image", "image_url": PIXEL}]
    session = talk.finished(client, [{"role": "user", "content": content}], model)
    assert talk.said(client, session.id) == ["I see an image."]
    assert valid(talk.items(client, session.id)[0])["content"] == content
    [call] = upstream.calls(mark)
    assert PIXEL.encode() in call.body
    with refused(400):
        wrong = [{"type": "input_image", "image_url": "file:///etc/passwd"}]
        talk.send(client, session.id, {**talk.message("x"), "input": [{"role": "user", "content": wrong}]})


def test_multi_message_one_turn(client, upstream, mark):
    session = talk.finished(client, f"say {mark}")
    talk.send(client, session.id, talk.message(f"say first {mark}", f"say second {mark}"), talk.message(f"say third {mark}"))
    _, turn = talk.ended(client, session.id, 2)
    said = [f"say {mark}", *(f"say {word} {mark}" for word in ("first", "second", "third"))]
    assert talk.heard(client, session.id) == said
    inputs = [item for item in talk.items(client, session.id, "message") if item.role == "user"]
    assert [item.turn_id for item in inputs[1:]] == [turn.id] * 3
    assert talk.said(client, session.id) == [mark, f"third {mark}"]
    assert len(upstream.calls(mark)) == 2
    both = [{"role": "user", "content": [{"type": "input_text", "text": f"say {word} {mark}"}]} for word in "ab"]
    assert talk.heard(client, talk.finished(client, both).id) == [f"say a {mark}", f"say b {mark}"]


def test_events_idempotent(client, mark):
    session = talk.finished(client, f"say {mark}")
    event = talk.message(f"say once {mark}")
    for _ in range(3):
        talk.send(client, session.id, event, idempotency_key=mark)
    talk.ended(client, session.id, 2)
    with refused(409):
        talk.send(client, session.id, talk.message(f"say other {mark}"), idempotency_key=mark)
    assert talk.heard(client, session.id) == [f"say {mark}", f"say once {mark}"]


def test_empty_batch_noop(client, mark):
    session = talk.finished(client, f"say {mark}")
    before = client.beta.agents.sessions.retrieve(session.id)
    talk.send(client, session.id)
    assert client.beta.agents.sessions.retrieve(session.id) == before
    assert len(talk.items(client, session.id)) == 2
    path = f"/agents/sessions/{session.id}/events"
    for body in ({"events": None}, {}, {"events": {}}, {"events": [{"type": "agent.session.input.interrupt"}]}):
        assert raw(client, "POST", path, body).status_code == 400, body


def test_empty_text_400(client, mark):
    session = talk.finished(client, f"say {mark}")
    good = talk.message(f"say {mark}")
    for wrong in (
        talk.message(""),
        talk.message(),
        {**good, "input": [{"role": "user", "content": []}]},
        {**good, "input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
    ):
        # A batch is all or nothing.
        with refused(400):
            talk.send(client, session.id, good, wrong)
    assert len(talk.items(client, session.id)) == 2
    blank = talk.finished(client, f"say {mark}\n \t")
    assert talk.heard(client, blank.id) == [f"say {mark}\n \t"]


def test_steer_mid_turn(client, upstream, orders, mark):
    tool = {"type": "mcp", "server_label": "orders", "transport": {"type": "http", "server_url": orders.url}}
    with upstream.hold(mark) as gate:
        session = talk.create(client, f"order ord_1042 {mark}", agent={"tools": [tool]})
        gate.wait_arrival()
        talk.send(client, session.id, talk.message(f"say steered {mark}"))
    # The model asked for a tool; with its result came the message, in the same turn.
    [turn] = talk.ended(client, session.id)
    assert turn.status == "completed"
    first, second = [call.json for call in upstream.calls(mark)]
    assert "steered" not in str(first) and "steered" in str(second["input"][-1])
    kinds = [(item.type, getattr(item, "role", None)) for item in talk.items(client, session.id)]
    assert sorted(kinds[:3], key=str) == sorted(
        [("message", "user"), ("mcp_call", None), ("message", "user")], key=str
    )
    assert talk.said(client, session.id) == [f"steered {mark}"]


def test_message_queued(client, upstream, mark):
    with upstream.hold(mark) as gate:
        session = talk.create(client, f"say one {mark}")
        gate.wait_arrival()
        with talk.subscribed(client, session.id) as events:
            talk.send(client, session.id, talk.message(f"say two {mark}"))
            gate.open.set()
            heard = talk.until(events, "turn.completed") + talk.until(events, "turn.completed")
    # The step that ran was the last of its turn: the message became the next one.
    first, second = talk.ended(client, session.id, 2)
    completed = [event.turn_id for event in heard if event.type.endswith("turn.completed")]
    assert completed == [first.id, second.id]
    assert talk.said(client, session.id) == [f"one {mark}", f"two {mark}"]
    assert len(upstream.calls(mark)) == 2


def test_cancel_active(client, mark):
    sessions = client.beta.agents.sessions
    with sessions.create(
        agent={"model": "m1"}, environment=talk.NONE, input=f"stall {mark}", stream=True
    ) as stream:
        session = talk.until(stream, "turn.output_text.delta")[0].session
        talk.send(client, session.id, talk.CANCEL)
        rest = list(stream)
    assert talk.types(rest)[-2:] == ["turn.cancelled", "idle"]
    done = [event.item for event in rest if event.type.endswith("item.done")]
    assert [item.status for item in done] == ["incomplete"]
    [turn] = talk.ended(client, session.id)
    assert (turn.status, turn.error) == ("cancelled", None)
    talk.turn(client, session.id, f"say on {mark}")
    assert talk.said(client, session.id)[-1] == f"on {mark}"


def test_cancel_idle_noop(client, mark):
    session = talk.finished(client, f"say {mark}")
    with talk.subscribed(client, session.id) as events:
        talk.send(client, session.id, talk.CANCEL)
        talk.send(client, session.id, talk.message(f"say on {mark}"))
        # Nothing came of the cancel: the first event is the next turn's.
        assert talk.types(talk.until(events, "idle"))[0] == "turn.created"
    assert [turn.status for turn in talk.ended(client, session.id, 2)] == ["completed", "completed"]


def test_cancel_waiting(client, mark):
    session = talk.create(client, f"weather in Paris {mark}", agent={"tools": [talk.function()]})
    [action] = talk.waiting(client, session.id)
    with talk.subscribed(client, session.id) as events:
        talk.send(client, session.id, talk.CANCEL)
        assert talk.types(talk.until(events, "idle"))[-2:] == ["turn.cancelled", "idle"]
    after = client.beta.agents.sessions.retrieve(session.id)
    assert (after.status, after.required_actions) == ("idle", [])
    with refused(400, says=f"Unknown pending tool call: {action.call_id}"):
        talk.send(client, session.id, talk.result(action, "late"))
    talk.turn(client, session.id, f"say on {mark}")
    assert talk.said(client, session.id)[-1] == f"on {mark}"


def test_parallel_sessions(client, mark):
    count = 24
    sessions = [talk.create(client, f"say {number} {mark}").id for number in range(count)]
    for number, session in enumerate(sessions):
        talk.settled(client, session)
        assert talk.said(client, session) == [f"{number} {mark}"]
    busy = lambda: any(client.beta.agents.sessions.retrieve(one).status != "idle" for one in sessions)
    wait.until(lambda: not busy(), "every session to rest")
