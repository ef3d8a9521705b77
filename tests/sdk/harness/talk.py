"""Sending to sessions and collecting what they say."""

import contextlib

from . import wait

NONE = {"type": "none"}
ENDED = ("completed", "failed", "cancelled")


def message(*texts):
    """A message event; each text is one user message."""
    return {
        "type": "agent.session.input.message",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": text}]} for text in texts],
    }


CANCEL = {"type": "agent.session.input.cancel"}


def function(name="get_weather", **changes):
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "name": name, "description": f"Does {name}.", "parameters": parameters}
    return {**tool, **changes}


def result(action, output=None, error=None):
    """The answer to a required function call, or to a `function_call` item."""
    event = {
        "type": "agent.session.input.tool_result",
        "turn_id": action.turn_id,
        "call_id": action.call_id,
        "success": error is None,
    }
    return {**event, **({"output": output} if error is None else {"error": error})}


def create(client, text, model="m1", **options):
    """A session whose first turn was accepted."""
    agent = {"model": model, **options.pop("agent", {})}
    environment = options.pop("environment", NONE)
    return client.beta.agents.sessions.create(agent=agent, environment=environment, input=text, **options)


def finished(client, text, model="m1", **options):
    """A session whose first turn has ended."""
    return settled(client, create(client, text, model, **options).id)


def settled(client, session_id, status="idle"):
    """The session once it has that status."""
    look = lambda: client.beta.agents.sessions.retrieve(session_id)
    return wait.until(lambda: (session := look()).status == status and session, f"the session to be {status}")


def ended(client, session_id, count=1):
    """The session's turns, oldest first, once `count` of them have ended and it rests."""

    def look():
        turns = list(client.beta.agents.sessions.turns.list(session_id, order="asc"))
        return len(turns) >= count and all(turn.status in ENDED for turn in turns) and turns

    turns = wait.until(look, f"{count} turns to end")
    settled(client, session_id)
    return turns


def waiting(client, session_id):
    """What the session waits for, once it does."""
    return settled(client, session_id, "requires_action").required_actions


def send(client, session_id, *events, **options):
    client.beta.agents.sessions.events.create(session_id, events=list(events), **options)


def stream(client, text, model="m1", **options):
    """Every event of a session created with a stream, until the stream ends."""
    agent = {"model": model, **options.pop("agent", {})}
    sessions = client.beta.agents.sessions
    environment = options.pop("environment", NONE)
    return list(sessions.create(agent=agent, environment=environment, input=text, stream=True, **options))


def turn(client, session_id, text, **options):
    """Every event of one more turn, through the SDK's helper."""
    with client.beta.agents.sessions.stream(session_id, input=text, **options) as events:
        return list(events)


def items(client, session_id, kind=None):
    """The session's items, oldest first."""
    found = client.beta.agents.sessions.items.list(session_id, order="asc")
    return [item for item in found if kind in (None, item.type)]


def said(client, session_id):
    """What the agent said, message by message."""
    return [item.output_text for item in items(client, session_id, "message") if item.role == "assistant"]


def heard(client, session_id):
    """What users said, message by message."""
    found = [item for item in items(client, session_id, "message") if item.role == "user"]
    return ["".join(part.text for part in item.content) for item in found]


def types(events):
    """Event types without the common prefix."""
    return [event.type.removeprefix("agent.session.") for event in events]


def only(events, kind):
    found = [event for event in events if event.type.removeprefix("agent.session.") == kind]
    assert len(found) == 1, f"{len(found)} events of type {kind} in {types(events)}"
    return found[0]


def until(events, kind):
    """Events up to and including the first of that type."""
    taken = []
    for event in events:
        taken.append(event)
        if event.type.removeprefix("agent.session.") == kind:
            return taken
    raise AssertionError(f"the stream ended without {kind}: {types(taken)}")


@contextlib.contextmanager
def subscribed(client, session_id):
    """The session's raw event stream."""
    with client.beta.agents.sessions.events.stream(session_id) as events:
        yield events


def subsequence(wanted, found):
    """Whether `wanted` occurs in `found` in this order."""
    rest = iter(found)
    return all(any(one == other for other in rest) for one in wanted)
