"""Webhooks: the SDK checks and reads what really arrived."""

import json

import openai
import pytest
from openai.types.webhooks.webhook_endpoint_with_secret import WebhookEndpointWithSecret

from harness import shape, talk, wait
from harness.receiver import Receiver
from harness.shape import raw

PATH = "/tenure/webhooks"


def made(client, url, **options):
    answer = raw(client, "POST", PATH, {"url": url, **options})
    assert answer.status_code == 201, answer.text
    return answer.json()


def unwrapped(client, webhook, posted):
    headers, body = posted
    event = client.webhooks.unwrap(body, headers, secret=webhook["signing_secret"])
    shape.valid(event)
    return event


def test_unwrap(client, receiver, mark):
    webhook = made(client, receiver.url, name=mark)
    shape.valid_as(WebhookEndpointWithSecret, webhook)
    session = talk.create(client, f"weather in Paris {mark}", agent={"tools": [talk.function()]})
    [action] = talk.waiting(client, session.id)
    talk.send(client, session.id, talk.result(action, "sunny"))
    talk.ended(client, session.id)
    wait.until(lambda: len(receiver.of(session.id)) >= 5, "five webhooks")
    events = [unwrapped(client, webhook, one) for one in receiver.of(session.id)]
    kinds = [event.type.removeprefix("agent.session.") for event in events]
    assert kinds == ["created", "in_progress", "action_required", "in_progress", "idle"]
    assert {event.data.id for event in events} == {session.id}
    assert events[2].data.required_action.type == "function_call"
    assert events[0].data.environment_type == "none"
    # Content stays here.
    assert not any(mark.encode() in body for _, body in receiver.of(session.id))
    headers, body = receiver.of(session.id)[0]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body + b" ", headers, secret=webhook["signing_secret"])
    assert raw(client, "DELETE", f"{PATH}/{webhook['id']}").json()["deleted"] is True


def test_webhook_rotation(client, receiver, mark):
    webhook = made(client, receiver.url, event_types=["agent.session.idle"])
    rotated = raw(client, "POST", f"{PATH}/{webhook['id']}/rotate_secret", {}).json()
    assert rotated["signing_secret"] != webhook["signing_secret"]
    session = talk.finished(client, f"say {mark}")
    wait.until(lambda: receiver.of(session.id), "a webhook")
    # Receivers that have the old secret and those that have the new one both accept it.
    for secrets in (webhook, rotated):
        assert unwrapped(client, secrets, receiver.of(session.id)[0]).type == "agent.session.idle"
    raw(client, "DELETE", f"{PATH}/{webhook['id']}")


def test_webhook_survives_a_kill(own_server, mark):
    """The server is killed before anything could be delivered; the next start delivers."""
    gone = Receiver()
    gone.close()
    (own_server.project / "tenure.yaml").write_text(json.dumps({"webhooks": {"allow_loopback": True}}))
    own_server.restart()
    webhook = made(own_server.client, gone.url)
    session = talk.finished(own_server.client, f"say {mark}")
    own_server.kill()
    receiver = Receiver(gone.port)
    own_server.start()
    wait.until(lambda: len(receiver.of(session.id)) >= 3, "three webhooks", deadline=60)
    events = [unwrapped(own_server.client, webhook, one) for one in receiver.of(session.id)]
    assert [event.type.removeprefix("agent.session.") for event in events] == ["created", "in_progress", "idle"]
    assert len({headers["webhook-id"] for headers, _ in receiver.of(session.id)}) == 3
    receiver.close()


def test_webhook_addresses(own_server):
    """Without a setting, nothing around the server can be reached."""
    for url in ("http://127.0.0.1:1/", "https://localhost/", "https://169.254.169.254/", "https://[::ffff:10.0.0.1]/"):
        answer = raw(own_server.client, "POST", PATH, {"url": url})
        assert (answer.status_code, answer.json()["code"]) == (400, "url_not_allowed"), url
