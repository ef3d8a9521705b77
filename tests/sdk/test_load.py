"""A server with as much as it can bear: what the SDK sees, and what it does about it by itself."""

import threading

import openai
import pytest

from harness import talk, wait
from harness.server import Server


@pytest.fixture
def small_server(tmp_path, upstream):
    """A server that has room for two active sessions, and for one stream."""
    server = Server(tmp_path, upstream.url, limits={"sessions_active_max": 2, "streams_max": 1})
    yield server
    server.stop()


def test_a_full_server_is_tried_again_by_the_sdk(small_server, upstream, mark):
    client = small_server.client
    impatient = small_server.new_client(max_retries=0)
    with upstream.hold(mark) as gate:
        running = [talk.create(client, f"say {mark} {index}") for index in range(2)]
        gate.wait_arrival()
        with pytest.raises(openai.APIStatusError) as refused:
            talk.create(impatient, "say too much")
        error = refused.value
        assert error.status_code in (429, 503) and error.code == "overloaded"
        assert error.response.headers["retry-after"] == "1"
        assert "x-should-retry" not in error.response.headers

        # Those that run are heard: one is stopped, and makes room.
        made = []
        patient = small_server.new_client(max_retries=20)
        thread = threading.Thread(target=lambda: made.append(talk.create(patient, "say at last")))
        thread.start()
        talk.send(client, running[0].id, talk.CANCEL)
        thread.join(30)
        assert len(made) == 1
    talk.settled(client, made[0].id)
    talk.settled(client, running[1].id)
    assert talk.said(client, made[0].id) == ["at last"]
    assert talk.said(client, running[1].id) == [f"{mark} 1"]
    assert len(list(client.beta.agents.sessions.list())) == 3
    impatient.close()
    patient.close()


def test_streams_are_counted(small_server, mark):
    client = small_server.new_client(max_retries=0)
    session = talk.finished(client, f"say {mark}")
    with talk.subscribed(client, session.id):
        with pytest.raises(openai.APIStatusError) as refused:
            client.beta.agents.sessions.events.stream(session.id)
        assert refused.value.code == "overloaded"

    def opened():
        try:
            client.beta.agents.sessions.events.stream(session.id).close()
            return True
        except openai.APIStatusError:
            return False

    # The server hears of a closed connection when it next writes to it or the system tells.
    wait.until(opened, "a place for a stream")
    client.close()
