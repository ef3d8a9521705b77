"""Functions: the client's own tools."""

import openai
import pytest
from openai.lib.beta.agents import function_tool

from harness import talk
from harness.shape import refused, valid

TOOLS = {"tools": [talk.function()]}
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def test_function_requires_action(client, upstream, mark):
    sessions = client.beta.agents.sessions
    with sessions.create(
        agent={"model": "m1", **TOOLS}, environment=talk.NONE, input=f"weather in Paris {mark}", stream=True
    ) as stream:
        events = talk.until(stream, "requires_action")
    session = valid(events[-1].session)
    [action] = session["required_actions"]
    call = [event.item for event in events if event.type.endswith("item.added")][-1]
    assert action == {
        "type": "function_call",
        "turn_id": call.turn_id,
        "call_id": call.call_id,
        "name": "get_weather",
        "arguments": {"city": "Paris"},
    }
    turn = sessions.turns.retrieve(call.turn_id, session_id=session["id"])
    assert (turn.status, turn.completed_at) == ("waiting", None)
    assert sessions.retrieve(session["id"]).status == "requires_action"
    [offered] = upstream.calls(mark)[0].json["tools"]
    assert (offered["name"], offered["parameters"]) == ("get_weather", TOOLS["tools"][0]["parameters"])


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_function_result_ok(client, upstream, mark, model):
    session = talk.create(client, f"weather in Paris {mark}", model, agent=TOOLS)
    [action] = talk.waiting(client, session.id)
    talk.send(client, session.id, talk.result(action, f"sunny {mark}"))
    [turn] = talk.ended(client, session.id)
    assert turn.status == "completed"
    user, call, output, answer = talk.items(client, session.id)
    assert (call.type, call.status, call.arguments) == ("function_call", "completed", {"city": "Paris"})
    assert valid(output) == {
        "id": output.id,
        "type": "function_call_output",
        "turn_id": turn.id,
        "call_id": call.call_id,
        "output": f"sunny {mark}",
        "error": None,
        "status": "completed",
    }
    assert answer.output_text == f"Weather: sunny {mark}"
    assert client.beta.agents.sessions.retrieve(session.id).required_actions == []


def test_function_result_error(client, mark):
    session = talk.create(client, f"weather in Paris {mark}", agent=TOOLS)
    [action] = talk.waiting(client, session.id)
    talk.send(client, session.id, talk.result(action, error="no such city"))
    # A failed tool fails no turn: the model is told and goes on.
    [turn] = talk.ended(client, session.id)
    assert turn.status == "completed"
    assert "no such city" in talk.said(client, session.id)[0]
    [output] = talk.items(client, session.id, "function_call_output")
    assert (output.output, output.error, output.status) == (None, "no such city", "failed")


@function_tool
def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_function_handlers(client, mark, model):
    agent = {"model": model, "tools": [get_weather.definition]}
    handlers = {get_weather.name: get_weather}
    sessions = client.beta.agents.sessions
    with sessions.create(
        agent=agent, environment=talk.NONE, input=f"weather in Paris {mark}", stream=True, tool_handlers=handlers
    ) as stream:
        first = stream.get_final_result()
    assert first.output_text == "Weather: sunny in Paris"
    again = sessions.stream(first.session_id, input=f"weather in Rome {mark}", tool_handlers=handlers)
    with again as stream:
        assert stream.get_final_result().output_text == "Weather: sunny in Rome"


def test_function_handler_raises(client, mark):
    failures = []

    def broken(arguments):
        raise RuntimeError("a secret of the application")

    session = talk.finished(client, f"say {mark}", agent=TOOLS)
    with client.beta.agents.sessions.stream(
        session.id,
        input=f"weather in Paris {mark}",
        tool_handlers={"get_weather": broken},
        on_tool_error=failures.append,
    ) as stream:
        result = stream.get_final_result()
    assert "Tool handler failed." in result.output_text
    assert "secret" not in result.output_text
    assert [failure.stage for failure in failures] == ["execution"]


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_function_parallel(client, upstream, mark, model):
    tools = [talk.function(), talk.function("get_time")]
    asked = []

    def answer(name):
        return lambda arguments: asked.append((name, arguments["city"])) or f"{name} of {arguments['city']}"

    with client.beta.agents.sessions.create(
        agent={"model": model, "tools": tools},
        environment=talk.NONE,
        input=f"both {mark}",
        stream=True,
        tool_handlers={name: answer(name) for name in ("get_weather", "get_time")},
    ) as stream:
        result = stream.get_final_result()
    assert asked == [("get_weather", "Paris"), ("get_time", "Paris")]
    assert result.output_text.startswith("Both: ")
    assert len(upstream.calls(mark)) == 2
    # Nothing goes on until every call is answered, in whatever order that happens.
    session = talk.create(client, f"both {mark}x", model, agent={"tools": tools})
    first, second = talk.waiting(client, session.id)
    talk.send(client, session.id, talk.result(second, "noon"))
    [left] = talk.waiting(client, session.id)
    assert left.call_id == first.call_id
    talk.send(client, session.id, talk.result(first, "sunny"))
    [turn] = talk.ended(client, session.id)
    assert turn.status == "completed"


def test_function_stream_events(client, mark):
    with client.beta.agents.sessions.create(
        agent={"model": "m1", **TOOLS},
        environment=talk.NONE,
        input=f"weather in Paris {mark}",
        stream=True,
        tool_handlers={"get_weather": lambda arguments: "sunny"},
    ) as stream:
        events = list(stream)
    added = [event for event in events if event.type.endswith("item.added")]
    user, call, output, message = [event.item for event in added]
    assert (call.type, call.arguments, call.name) == ("function_call", {"city": "Paris"}, "get_weather")
    assert (output.type, output.output, added[2].output_index) == ("function_call_output", "sunny", None)
    assert [event.output_index for event in added] == [None, 0, None, 1]
    types = talk.types(events)
    asked, answered = types.index("requires_action"), types.index("turn.output_text.delta")
    assert types.index("turn.item.added", 3) < asked < answered
    assert "in_progress" in types[asked:answered]
    assert types[-2:] == ["turn.completed", "idle"]
    assert not [kind for kind in types if "arguments" in kind]


def test_deferred_function_hidden(client, upstream, mark):
    tools = [talk.function("get_stock", defer_loading=True), talk.function(), {"type": "tool_search"}]
    session = talk.create(client, f"find the stock {mark}", agent={"tools": tools})
    [action] = talk.waiting(client, session.id)
    assert action.name == "get_stock"
    names = [{tool["name"] for tool in call.json["tools"]} for call in upstream.calls(mark)]
    assert "get_stock" not in names[0] and "get_weather" in names[0]
    assert "get_stock" in names[-1]
    talk.send(client, session.id, talk.result(action, "42"))
    talk.ended(client, session.id)
    assert talk.said(client, session.id)[-1] == "Stock: 42"


def test_function_unknown_call(client, mark):
    session = talk.create(client, f"weather in Paris {mark}", agent=TOOLS)
    [action] = talk.waiting(client, session.id)
    event = {**talk.result(action, "x"), "call_id": "call_unknown"}
    with pytest.raises(openai.BadRequestError) as unknown:
        talk.send(client, session.id, event)
    body = unknown.value.response.json()["error"]
    assert body["message"] == "Unknown pending tool call: call_unknown"
    assert body["code"] == "invalid_request_error"
    with refused(400):
        talk.send(client, session.id, {**talk.result(action, "x"), "turn_id": "turn_other"})
    assert talk.waiting(client, session.id)[0].call_id == action.call_id


def test_function_repeat_result(client, mark):
    session = talk.create(client, f"weather in Paris {mark}", agent=TOOLS)
    [action] = talk.waiting(client, session.id)
    for _ in range(2):
        talk.send(client, session.id, talk.result(action, "sunny"))
    talk.ended(client, session.id)
    talk.send(client, session.id, talk.result(action, "sunny"))
    with refused(409):
        talk.send(client, session.id, talk.result(action, "rainy"))
    assert len(talk.items(client, session.id, "function_call_output")) == 1
    assert talk.said(client, session.id) == ["Weather: sunny"]


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_function_image_result(client, upstream, mark, model):
    content = [{"type": "input_text", "text": f"a map {mark}"}, {"type": "input_image", "image_url": PIXEL}]
    session = talk.create(client, f"weather in Paris {mark}", model, agent=TOOLS)
    [action] = talk.waiting(client, session.id)
    talk.send(client, session.id, talk.result(action, content))
    talk.ended(client, session.id)
    [output] = talk.items(client, session.id, "function_call_output")
    assert valid(output)["output"] == content
    asked, told = upstream.calls(mark)
    assert PIXEL.encode() not in asked.body and PIXEL.encode() in told.body


def test_message_while_waiting(client, upstream, mark):
    session = talk.create(client, f"weather in Paris {mark}", agent=TOOLS)
    [action] = talk.waiting(client, session.id)
    talk.send(client, session.id, talk.message(f"say joined {mark}"))
    assert talk.waiting(client, session.id)[0].call_id == action.call_id
    talk.send(client, session.id, talk.result(action, "sunny"))
    # The message joins the turn that waited.
    [turn] = talk.ended(client, session.id)
    assert talk.said(client, session.id) == [f"joined {mark}"]
    assert "joined" in str(upstream.calls(mark)[1].json["input"][-1])
