"""MCP servers that plugins bring into an environment: found, told, asked, called, refused."""

import base64
import json
import pathlib
import shutil

from openai.types.beta.agent_session_item import AgentSessionItem

from harness import talk, wait
from harness.executor import Executor
from harness.server import KEY, Server
from harness.shape import raw, valid, valid_as
from test_inside import PYTHON, SOURCE, UNKNOWN, box, calls, gone, output, processes, ran
from test_skills import inline, zipped

HOSTED = {"type": "openai_hosted", "network": {"access": "disabled"}, "env": {"GIVEN": "yes", "HELD_BACK": "yes"}}
AT = "/workspace/.managed-agents/plugins/kit"
# What a server answers is anybody's word, after which calls of it would wait for a person.
LEAVE = {"tenure": {"grants": [{"tool": "kit-box/act", "uses_max": 9}]}}
START = f"#!/bin/sh\nexec {PYTHON} box.py \"$@\"\n"


def about(name="kit", **more):
    return json.dumps({"name": name, "description": "Boxes.", **more})


def servers(mark, **more):
    """What the plugin says of its server, whose process can be told from others by the mark."""
    return {"mcpServers": {"box": {"command": "./bin/start", "args": [mark], "env_vars": ["GIVEN"], **more}}}


def kit(mark, **more):
    """The plugin as a client sends it."""
    files = {
        ".codex-plugin/plugin.json": about(),
        ".mcp.json": json.dumps(servers(mark, **more)),
        "bin/start": START,
        "box.py": SOURCE.read_text(),
        "skills/pack/SKILL.md": "---\nname: pack\ndescription: Packs boxes.\n---\nAct.\n",
    }
    return inline("kit", zipped([(f"kit/{path}", text.encode()) for path, text in files.items()]), "Boxes.")


def hosted(mark, **more):
    return {**HOSTED, "plugins": [kit(mark, **more)]}


def placed(path, text):
    return {"type": "inline", "path": f"/workspace/{path}", "data": base64.b64encode(text.encode()).decode()}


def told(client, session):
    """What clients are told of the servers of plugins: those that were found, and why others are not started."""
    shown = raw(client, "GET", f"/tenure/sessions/{session.id}").json()["plugin_servers"]
    refused = {(one["plugin"], one["name"]): one["reason"] for one in shown["refused"]}
    assert len(refused) == len(shown["refused"])
    return shown["found"], refused


def finished(client, text, environment, **options):
    session = talk.create(client, text, environment=environment, extra_body=LEAVE, **options)
    assert [turn.status for turn in talk.ended(client, session.id)] == ["completed"]
    return client.beta.agents.sessions.retrieve(session.id)


def test_plugin_server_is_called(client, upstream, mark):
    session = finished(client, f"kit act note first {mark}", hosted(mark))
    [item] = calls(client, session)
    valid_as(AgentSessionItem, item.to_dict(mode="json"))
    assert (item.server_label, item.name) == ("kit-box", "act")
    first = output(item)
    assert (first["count"], first["cwd"]) == (1, AT)
    assert "GIVEN" in first["env"] and "HELD_BACK" not in first["env"]
    # Clients see the agent that they sent, and of Tenure what the plugin brought along.
    assert valid(session)["agent"]["tools"] == []
    found, refused = told(client, session)
    assert refused == {}
    assert found == [
        {
            "server_label": "kit-box",
            "status": "listed",
            "tools": 2,
            "allowed_tools": None,
            "command": f"{AT}/bin/start",
            "args": [mark],
            "cwd": AT,
            "env_vars": ["GIVEN"],
        }
    ]
    # It works on the files that commands do, and stays between calls and beside commands.
    notes = f"{AT}/notes.txt"
    assert ran(client, session, f"run cat {notes}; echo by hand >> {notes} # {mark}") == f"first {mark}\n"
    talk.turn(client, session.id, f"kit act note second {mark}")
    second = output(calls(client, session)[-1])
    assert (second["count"], second["pid"]) == (2, first["pid"])
    assert ran(client, session, f"run cat {notes} # {mark}") == f"first {mark}\nby hand\nsecond {mark}\n"
    # Its skills are there as well, and an approval or a policy knows it by its label.
    tools = {tool["name"] for tool in upstream.calls(mark)[0].json["tools"]}
    assert {"kit-box__act", "kit-box__look", "shell"} <= tools
    client.beta.agents.sessions.delete(session.id)
    gone(mark)


def test_plugin_server_dies(client, mark):
    session = finished(client, f"kit act die {mark}", hosted(mark))
    [item] = calls(client, session)
    assert item.status == "failed" and UNKNOWN in item.error, item
    talk.turn(client, session.id, f"kit act note again {mark}")
    assert output(calls(client, session)[-1])["count"] == 1


def test_plugin_server_that_cannot_be_started_is_down(client, mark):
    session = finished(client, f"say {mark}", hosted(mark, args=["-c"], command="none"))
    [found], refused = told(client, session)
    assert (found["status"], found["tools"], refused) == ("down", None, {})


def test_plugin_servers_in_capability_directories(client, mark):
    """One environment with everything that can be wrong with plugins; what is right works all the same."""
    start = {"command": "sh", "args": ["-c", f"exec {PYTHON} ${{PLUGIN_ROOT}}/box.py {mark}"]}
    many = {f"s{number}": {"command": "true"} for number in range(9)}
    plugins = {
        "a/kit": about(mcpServers={"box": start}),
        "b/again": about(mcpServers={"box": start}),
        "c/damaged": "{\"name\": \"damaged\"",
        "d/nameless": json.dumps({"description": "x"}),
        "e/absolute": about("absolute", mcpServers={"x": {"command": "/usr/bin/python3"}}),
        "f/outside": about("outside", mcpServers={"x": {"command": "../box"}, "y": {"command": "z", "cwd": "/etc"}}),
        "g/secret": about("secret", mcpServers={"x": {"command": "x", "env": {"TOKEN": "s3cret"}}}),
        "h/network": about("network", mcpServers={"x": {"url": "https://x.example/mcp"}}),
        "i/names": about("names", mcpServers={"x y": {"command": "x"}}),
        "j/path": about("path", mcpServers="../servers.json"),
        "k/gone": about("gone", mcpServers="./servers.json"),
        "l/file": about("file"),
        "m/linked": about("linked"),
        "n/list": about("list", mcpServers=[]),
        "o/many": about("many", mcpServers=many),
    }
    files = [placed(f"kits/{path}/.codex-plugin/plugin.json", text) for path, text in plugins.items()]
    files += [placed("kits/a/kit/box.py", SOURCE.read_text()), placed("kits/l/file/.mcp.json", "[1]")]
    link = "ln -s /etc/hostname m/linked/.mcp.json; mkdir p; ln -s ../a/kit p/whole"
    environment = {
        **HOSTED,
        "files": files,
        "setup_commands": [{"command": link, "cwd": "/workspace/kits"}],
        "capability_directories": ["/workspace/kits", "/workspace/none"],
    }
    session = finished(client, f"kit look note {mark}", environment)
    assert output(calls(client, session)[-1])["cwd"] == "/workspace/kits/a/kit"
    found, refused = told(client, session)
    assert [server["server_label"] for server in found] == ["kit-box", *(f"many-s{n}" for n in range(7))]
    assert [server["status"] for server in found] == ["listed"] + ["down"] * 7
    reasons = {
        ("b/again", "box"): "another plugin has a server of the label `kit-box`",
        ("c/damaged", None): "`.codex-plugin/plugin.json` is no JSON object",
        ("d/nameless", None): "has no `name`",
        ("e/absolute", "x"): "its `command` must be the name of a program, or a path within the plugin",
        ("f/outside", "x"): "its `command` must be the name of a program, or a path within the plugin",
        ("f/outside", "y"): "its `cwd` must be a path within the plugin",
        ("g/secret", "x"): "its `env` gives `TOKEN` a value",
        ("h/network", "x"): "name it among the agent's tools",
        ("i/names", "x y"): "its name must be 1 to 64 letters",
        ("j/path", None): "must be the path of a file of the plugin",
        ("k/gone", None): "the plugin's file `servers.json` is not there",
        ("l/file", None): "is no JSON object",
        ("m/linked", None): "links are not followed",
        ("n/list", None): "must be a path or an object",
        ("o/many", "s7"): "an environment runs at most 8 tool servers",
        ("o/many", "s8"): "a plugin may name at most 8 servers",
    }
    assert set(refused) == {(f"/workspace/kits/{path}", name) for path, name in reasons}
    for (path, name), why in reasons.items():
        assert why in refused[f"/workspace/kits/{path}", name], (path, name)
    journal = raw(client, "GET", f"/tenure/sessions/{session.id}/journal").text
    assert "s3cret" not in journal


def test_plugin_server_behind_the_agents_own(client, mark):
    """The agent's own label goes before; without it, the plugin's server is there from the next step on."""
    own = {**box(mark, args=["-c", "import sys; sys.exit('mine')"]), "server_label": "kit-box"}
    session = finished(client, f"say {mark}", hosted(mark), agent={"tools": [own]})
    [found], _ = told(client, session)
    assert found["status"] == "shadowed"
    client.beta.agents.sessions.update(session.id, agent={"tools": []})
    talk.turn(client, session.id, f"kit look note {mark}")
    assert output(calls(client, session)[-1])["cwd"] == AT


def test_plugin_server_that_policy_denies(own_server, mark):
    """A listing that policy denies leaves the server out; the turn goes on without it."""
    policies = own_server.project / "policies"
    policies.mkdir(exist_ok=True)
    deny = """@id("no-kit") forbid (principal, action == Action::"tools.list", resource == Server::"kit-box");"""
    (policies / "kit.cedar").write_text(deny)
    own_server.restart()
    client = own_server.client
    session = finished(client, f"say {mark}", hosted(mark))
    [found], _ = told(client, session)
    assert found["status"] == "down"
    assert not processes(mark), "nothing was started"
    journal = raw(client, "GET", f"/tenure/sessions/{session.id}/journal").text
    assert "no-kit" in journal and "tools.list" in journal


def test_plugin_server_killed(tmp_path, upstream, mark):
    """The server dies while the plugin is unpacked, and in the middle of calls of its server."""
    server = Server(tmp_path, upstream.url)
    try:
        slow = {**hosted(mark), "setup_commands": [{"command": "echo x >> log; sleep 2"}]}
        session = talk.create(server.client, f"kit look note {mark}", environment=slow, extra_body=LEAVE)
        copy = server.data / "environments" / session.environment.id / "files"
        wait.until((copy / "log").exists, "the setup command to write")
        server.kill()
        (copy / ".managed-agents/plugins/kit/.mcp.json").write_text("half")
        server.start()
        talk.ended(server.client, session.id)
        assert output(calls(server.client, session)[-1])["count"] == 1
        found, refused = told(server.client, session)
        assert ([one["server_label"] for one in found], refused) == (["kit-box"], {})

        acts = talk.create(server.client, f"kit act hang {mark}", environment=hosted(mark), extra_body=LEAVE)
        looks = talk.create(server.client, f"kit look slow {mark}", environment=hosted(mark))
        begun = lambda session: calls(server.client, session)
        wait.until(lambda: begun(acts) and begun(looks) and len(processes(mark)) >= 2, "both calls to begin")
        server.kill()
        gone(mark)
        shutil.rmtree(server.data / "environments")
        server.start()
        client = server.client
        for session in (acts, looks):
            assert talk.ended(client, session.id)[0].status == "completed"
        [act] = calls(client, acts)
        assert act.status == "failed" and UNKNOWN in act.error, "what may have been done is never done again"
        [look] = calls(client, looks)
        assert output(look)["count"] == 1, "what only reads is called again"
        assert ran(client, looks, f"run cat {AT}/calls.txt # {mark}") == "look slow\n"
    finally:
        server.stop()


def machine(tmp_path, mark, **more):
    """A customer's machine with the plugin in a directory of it."""
    place = tmp_path / "machine"
    directory = place / "plugins" / "kit"
    (directory / ".codex-plugin").mkdir(parents=True)
    (directory / ".codex-plugin/plugin.json").write_text(about())
    start = {"command": "./start", "args": [mark], "env_vars": ["GIVEN"], **more}
    (directory / ".mcp.json").write_text(json.dumps({"box": start}))
    (directory / "start").write_text(START)
    (directory / "start").chmod(0o755)
    shutil.copy(SOURCE, directory / "box.py")
    return place


def own(place):
    directories = [str(place / "plugins"), str(place / "none")]
    return {"type": "self_hosted", "workspace_directory": str(place), "capability_directories": directories}


def opened(client, place, text):
    return client.beta.agents.sessions.create(
        agent={"model": "m1"}, environment=own(place), input=text, extra_body=LEAVE
    )


def test_plugin_server_self_hosted(server, tmp_path, mark):
    client, place = server.client, machine(tmp_path, mark)
    kit = place / "plugins" / "kit"
    bad = {
        "key": about("key", mcpServers={"x": {"command": "x", "env_vars": ["API_KEY"]}}),
        "linked": about("linked"),
        "behind": about("behind", mcpServers="./conf/servers.json"),
        "gone": about("gone", mcpServers="./servers.json"),
        "long": about("long", x="x" * 20_000),
        "absolute": about("absolute"),
    }
    for name, text in bad.items():
        (place / "plugins" / name / ".codex-plugin").mkdir(parents=True)
        (place / "plugins" / name / ".codex-plugin/plugin.json").write_text(text)
    (place / "plugins/linked/.mcp.json").symlink_to("../kit/.mcp.json")
    # To the executor itself there is nothing behind such a link.
    (place / "plugins/absolute/.mcp.json").symlink_to(kit / ".mcp.json")
    (place / "conf").mkdir()
    (place / "conf/servers.json").write_text("{}")
    (place / "plugins/behind/conf").symlink_to("../../conf")
    session = opened(client, place, f"kit act note first {mark}")
    with Executor(session.environment, place, KEY, env={"GIVEN": "x", "OTHER": "y"}):
        assert talk.ended(client, session.id)[0].status == "completed"
        first = output(calls(client, session)[-1])
        assert (first["count"], first["cwd"]) == (1, str(kit))
        assert "GIVEN" in first["env"] and "OTHER" not in first["env"]
        assert (kit / "notes.txt").read_text() == f"first {mark}\n"
        found, refused = told(client, session)
        assert [(one["server_label"], one["command"]) for one in found] == [("kit-box", f"{kit}/start")]
        reasons = {
            ("behind", None): "links are not followed",
            ("gone", None): "the plugin's file `servers.json` is not there",
            ("key", "x"): "its variable `API_KEY` is named like a secret",
            ("linked", None): "links are not followed",
            ("long", None): "is longer than 16384 bytes",
        }
        assert set(refused) == {(f"{place}/plugins/{path}", name) for path, name in reasons}
        for (path, name), why in reasons.items():
            assert why in refused[f"{place}/plugins/{path}", name], path
        # What is found is a fact: a file that changes changes no session.
        (kit / ".mcp.json").unlink()
        talk.turn(client, session.id, f"kit act note second {mark}")
        assert output(calls(client, session)[-1])["count"] == 2
        client.beta.agents.sessions.delete(session.id)
        gone(mark)


def test_plugin_server_self_hosted_restart(tmp_path, upstream, mark):
    """The server dies during a call; the executor lives and dials again."""
    server = Server(tmp_path, upstream.url)
    port = server.url.rsplit(":", 1)[1].split("/")[0]
    place = machine(tmp_path, mark)
    done: pathlib.Path = place / "plugins/kit/calls.txt"
    try:
        session = opened(server.client, place, f"kit act hang {mark}")
        with Executor(session.environment, place, KEY):
            wait.until(done.exists, "the call to begin")
            server.kill()
            server.start(port)
            client = server.client
            assert talk.ended(client, session.id)[0].status == "completed"
            [item] = calls(client, session)
            assert item.status == "failed" and UNKNOWN in item.error
            assert done.read_text() == "act hang\n", "it was not done again"
            talk.turn(client, session.id, f"kit look note {mark}")
            assert output(calls(client, session)[-1])["count"] == 1
    finally:
        server.stop()
