"""Two nodes: what one has acknowledged, the other acts on at once."""

import openai
import pytest

from harness import talk, wait
from harness.shape import raw

WEBHOOKS = "/tenure/webhooks"


def nodes(cluster):
    return [node.client for node in cluster.nodes]


def test_a_webhook_is_told_of_by_every_node(cluster, receiver, mark):
    one, other = nodes(cluster)
    for client in (one, other):
        # Both have looked, and know that there is no webhook.
        talk.finished(client, f"say before {mark}")
    webhook = raw(one, "POST", WEBHOOKS, {"url": receiver.url, "event_types": ["agent.session.created"]})
    assert webhook.status_code == 201, webhook.text
    path = f"{WEBHOOKS}/{webhook.json()['id']}"
    told = talk.finished(other, f"say {mark}")
    wait.until(lambda: receiver.of(told.id), "a webhook")
    # The same when it wants to be told of something else, and when it is gone.
    raw(one, "POST", path, {"event_types": ["agent.session.idle"]})
    idle = talk.finished(other, f"say again {mark}")
    wait.until(lambda: receiver.of(idle.id), "another webhook")
    assert [b"agent.session.idle" in body for _, body in receiver.of(idle.id)] == [True]
    assert raw(one, "DELETE", path).json()["deleted"] is True
    talk.finished(other, f"say nothing {mark}")
    assert len(receiver.posted) == 2


def test_a_revoked_key_is_refused_by_every_node(cluster, mark):
    one, other = nodes(cluster)
    made = raw(one, "POST", "/tenure/keys", {"name": mark, "scopes": ["read"]}).json()
    clients = [node.new_client(api_key=made["key"]) for node in cluster.nodes]
    for client in clients:
        # Both remember it as valid.
        client.beta.agents.list(limit=1)
    assert raw(one, "DELETE", f"/tenure/keys/{made['id']}").status_code == 200
    for client in clients:
        with pytest.raises(openai.AuthenticationError):
            client.beta.agents.list(limit=1)
        client.close()


def test_a_cancellation_closes_what_another_node_streams(cluster, mark):
    one, other = nodes(cluster)
    sessions = one.beta.agents.sessions
    with sessions.create(agent={"model": "m1"}, environment=talk.NONE, input=f"stall {mark}", stream=True) as stream:
        session = talk.until(stream, "turn.output_text.delta")[0].session
        talk.send(other, session.id, talk.CANCEL)
        rest = list(stream)
    # A stream that is opened for one turn ends with it.
    assert talk.types(rest)[-4:] == ["turn.content_part.done", "turn.item.done", "turn.cancelled", "idle"]
    assert [event.item.status for event in rest if event.type.endswith("item.done")] == ["incomplete"]
    assert talk.settled(other, session.id).status == "idle"
