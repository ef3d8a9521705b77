"""Procedures: read out of a session that worked, proposed once whatever the process does, and gone by once accepted."""

import json

import pytest

from harness import talk, wait
from harness.server import Server
from test_memory import Desk, command

# What only a request for a procedure says.
READER = "whether it did what it should"
EXTRACTION = {"extraction": {"model": "m1", "scope": "space", "procedures": True}}


class Trainee(Desk):
    """An agent that asks for the weather, and remembers."""

    def __init__(self, client, mark):
        super().__init__(client, mark)
        tools = [{"type": "memory"}, talk.function()]
        self.agent = client.beta.agents.create(model="m1", name=f"{mark}-trainee", tools=tools)

    def works(self):
        """A session in which three calls did what they should."""
        session = self.client.beta.agents.sessions.create(
            agent_id=self.agent.id,
            environment=talk.NONE,
            metadata={"user_id": self.user},
            input=f"thrice {self.mark}",
        )
        actions = talk.waiting(self.client, session.id)
        talk.send(self.client, session.id, *(talk.result(action, "sunny") for action in actions))
        talk.settled(self.client, session.id)
        return session

    def procedures(self, status=None, user=None):
        params = {"status": status} if status else {}
        scope = f"space:{self.agent.id}:{user or self.user}"
        return self.ask("GET", "procedures", scope=scope, **params).json()["data"]

    def proposed(self):
        """What waits, once something does."""
        return wait.until(lambda: self.procedures("proposed"), "a proposal")


@pytest.fixture
def trained(tmp_path, upstream):
    server = Server(tmp_path / "own", upstream.url, memory=EXTRACTION)
    yield server
    server.stop()


def asked(upstream, mark):
    """What the agent's model was shown in requests with the mark; turns are read by the same model."""
    requests = [call.json for call in upstream.calls(mark)]
    return [request["input"] for request in requests if "long-term memory of an AI agent" not in request.get("instructions", "")]


def shown(upstream, mark):
    """What it was told of procedures in the latest of them."""
    notes = [json.dumps(item) for item in asked(upstream, mark)[-1]]
    return [note for note in notes if "## Procedures" in note]


def test_a_turn_that_worked_is_read_once_whatever_the_process_does(trained, upstream, mark):
    desk = Trainee(trained.client, mark)
    with upstream.hold(READER) as gate:
        session = desk.works()
        gate.wait_arrival()
        # The client waited for nothing, and the server dies while the turn is read.
        trained.kill()
    trained.start()
    desk.client = trained.client
    [proposal] = desk.proposed()
    trained.restart()
    desk.client = trained.client
    assert desk.procedures() == [proposal], "it is proposed once"
    assert len([call for call in upstream.calls(READER) if mark.encode() in call.body]) == 2
    assert (proposal["status"], proposal["name"], proposal["version"]) == ("proposed", "weather-round", 1)
    [source] = proposal["sources"]
    assert (source["type"], source["session_id"], len(source["item_ids"])) == ("extraction", session.id, 3)

    # Until a person accepts it, no model is told of it and no agent reads it.
    desk.session(f"say hello {mark}-early")
    assert shown(upstream, f"{mark}-early") == []
    _, told = desk.call("memory_procedure", name="weather-round", scope="space")
    assert "nothing of that id or name" in told
    accepted = desk.ask("POST", f"procedures/{proposal['id']}/accept", {}).json()
    assert (accepted["status"], accepted["accepted_by"]["type"]) == ("accepted", "caller")
    assert [one["status"] for one in desk.procedures()] == ["accepted"]

    later = desk.session(f"say hello {mark}-later")
    [note] = shown(upstream, f"{mark}-later")
    assert f"> weather-round (space): To ask for the weather of {mark}." in note
    talk.turn(desk.client, later.id, f"say more {mark}-later")
    first, second = asked(upstream, f"{mark}-later")
    assert second[: len(first)] == first, "what comes first stays as it is"
    _, read = desk.call("memory_procedure", name="weather-round")
    assert (read["steps"], read["version"]) == ("1. Ask for each city.\n2. Say which was warm.", 1)
    assert read["sources"][0]["session"] == session.id
    # Another user of the same agent has never heard of it.
    desk.session(f"say hello {mark}-other", user=f"other-{mark}")
    assert shown(upstream, f"{mark}-other") == []
    assert desk.procedures(user=f"other-{mark}") == []
    _, told = desk.call("memory_procedure", user=f"other-{mark}", name="weather-round")
    assert "nothing of that id or name" in told


def test_a_proposal_of_an_agents_own_survives_a_kill(trained, upstream, mark):
    desk = Trainee(trained.client, mark)
    arguments = {"name": "brew-tea", "description": "To brew tea.", "steps": f"1. Boil {mark}."}
    with upstream.hold("proposed; it is not used") as gate:
        session = desk.client.beta.agents.sessions.create(
            agent_id=desk.agent.id,
            environment=talk.NONE,
            metadata={"user_id": desk.user},
            input=f"call memory_propose_procedure {json.dumps(arguments)} {mark}",
        )
        gate.wait_arrival()
        trained.kill()
    trained.start()
    desk.client = trained.client
    talk.settled(desk.client, session.id)
    [proposal] = desk.procedures()
    assert (proposal["status"], proposal["version"]) == ("proposed", 1)
    rejected = desk.ask("POST", f"procedures/{proposal['id']}/reject", {"reason": "too hot"}).json()
    assert (rejected["status"], rejected["reason"]) == ("rejected", "too hot")
    _, told = desk.call("memory_propose_procedure", **arguments)
    assert "a person rejected this procedure" in told


def test_it_becomes_a_skill(server, client, mark, tmp_path):
    desk = Desk(client, mark)
    scope = f"user:{mark}"
    say = lambda *args: command(server, "procedures", *args, "--scope", scope)
    _, told = desk.call("memory_propose_procedure", user=mark, name="brew-tea", description='To "brew": tea', steps="1. Boil.", scope="user")
    assert told["outcome"].startswith("proposed")
    assert "To \"brew\": tea: 1. Boil." in say("review") and "brew-tea" not in say("ls")
    assert "brew-tea: 1. Boil." in command(server, "review", "ls", "--scope", scope)
    assert say("show", "brew-tea") == "1. Boil.\n"
    assert say("accept", "brew-tea") == "accepted brew-tea\n"
    assert "brew-tea" in say("ls") and "brew-tea" not in say("review")
    assert say("set", "brew-tea", "1. Boil.\n2. Pour.", "--description", 'To "brew": tea # now') == "brew-tea is at version 2\n"
    assert say("set", "wash-up", "1. Wash.", "--description", "To wash up.") == "wash-up is at version 1\n"
    assert len(say("history", "brew-tea").splitlines()) == 3
    written = say("export", tmp_path / "skills", "brew-tea").splitlines()
    assert written == [str(tmp_path / "skills" / "brew-tea" / "SKILL.md")]
    with open(written[0], "rb") as file:
        skill = client.skills.create(files=[("brew-tea/SKILL.md", file)])
    assert (skill.name, skill.description) == ("brew-tea", 'To "brew": tea # now')
    assert len(say("export", tmp_path / "all").splitlines()) == 2
    assert say("rm", "wash-up") == "removed wash-up\n" and "wash-up" not in say("ls")

    # What is rejected is listed as that, and what is not there is told.
    desk.call("memory_propose_procedure", user=mark, name="wash-up", description="To wash.", steps="1. Wait.", scope="user")
    assert say("reject", "wash-up", "--reason", "no") == "rejected wash-up\n"
    assert "1. Wait." in say("review", "--rejected") and "1. Wait." not in say("review")
