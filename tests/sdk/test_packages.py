"""Packages: installed from the operator's registries and from nowhere else, before anything else runs."""

import pytest

from harness import talk
from harness.registry import Registry
from harness.server import Server
from harness.shape import refused
from test_environments import HOSTED, command, finished


@pytest.fixture(scope="module")
def registry():
    registry = Registry()
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def installing(tmp_path_factory, upstream, registry):
    """A server whose operator named the registry."""
    server = Server(tmp_path_factory.mktemp("packages"), upstream.url, environments=registry.settings())
    yield server
    server.stop()


def test_python_packages(installing, registry, mark):
    client = installing.client
    environment = {
        **HOSTED,
        "packages": {"python": ["greeting==1.0"]},
        "setup_commands": [{"command": "greeting-says > early"}],
    }
    ask = "import greeting; print(greeting.TEXT, greeting.__file__)"
    session = finished(client, f"run cat early; python3 -c '{ask}' # {mark}", environment)
    assert command(client, session.id).output.splitlines() == [
        "from python",
        "from python /workspace/.packages/python/greeting.py",
    ]
    shown = session.environment.packages
    assert (shown.python, shown.npm, shown.system) == (["greeting==1.0"], [], [])
    assert any(path.startswith("/simple/greeting") for path in registry.asked)


def test_npm_packages(installing, mark):
    client = installing.client
    environment = {**HOSTED, "packages": {"npm": ["greeting@1.0.0"]}}
    text = f"""run greeting-says; node -e 'console.log(require("greeting"))' # {mark}"""
    session = finished(client, text, environment)
    assert command(client, session.id).output.splitlines() == ["from npm", "from npm"]


def test_packages_move_with_the_files(installing, mark):
    """They are files of the environment: what is on a disk is a copy."""
    client = installing.client
    session = finished(client, f"run true # {mark}", {**HOSTED, "packages": {"python": ["greeting"]}})
    installing.restart()
    talk.turn(installing.client, session.id, f"run greeting-says # {mark}")
    assert command(installing.client, session.id).output == "from python\n"


def test_the_network_is_open_for_installing_only(installing, registry, mark):
    """Commands reach what the environment's network says, which is nothing here: not even the registry."""
    client = installing.client
    probe = f"python3 -c 'import urllib.request as r; r.urlopen(\"{registry.python_index}greeting/\")'"
    environment = {
        **HOSTED,
        "packages": {"python": ["greeting"]},
        "setup_commands": [{"command": f"! {probe} 2> refused"}],
    }
    session = finished(client, f"run tail -1 refused; {probe} 2>/dev/null || echo refused # {mark}", environment)
    first, last = command(client, session.id).output.splitlines()
    assert "urlopen error" in first and last == "refused"


@pytest.mark.parametrize(
    "packages, says",
    [
        ({"python": ["no-such-package"]}, "the Python packages could not be installed"),
        ({"npm": ["no-such-package"]}, "the npm packages could not be installed"),
        # Another place than the registries is not reached, however it is named.
        ({"python": ["x @ http://other.example/x.whl"]}, "the Python packages could not be installed"),
        ({"python": ["; touch /workspace/oh-no"]}, "the Python packages could not be installed"),
    ],
)
def test_what_cannot_be_installed(installing, mark, packages, says):
    client = installing.client
    session = talk.create(client, f"run true # {mark}", environment={**HOSTED, "packages": packages})
    failed = talk.settled(client, session.id, "failed")
    assert says in failed.error, failed.error


def test_packages_need_a_registry(client):
    """Where no registry is named, the refusal names the setting."""
    for kind, setting in (("python", "python_index"), ("npm", "npm_registry")):
        environment = {**HOSTED, "packages": {kind: ["x"]}}
        says = f"`environments.packages.{setting}`"
        with refused(400, param=f"environment.packages.{kind}", code="unsupported_feature", says=says):
            client.beta.agents.sessions.create(agent={"model": "m1"}, environment=environment, input="say x")
    # Nothing to install needs none.
    environment = {**HOSTED, "packages": {"python": [], "npm": None}}
    client.beta.agents.sessions.create(agent={"model": "m1"}, environment=environment)


def test_registries_at_private_addresses_must_be_named(tmp_path, upstream, registry, mark):
    """Without the operator's word a name that leads to this machine is refused, and so is one nobody knows."""
    environments = {"packages": {"python_index": registry.python_index}}
    server = Server(tmp_path, upstream.url, environments=environments)
    try:
        before = len(registry.asked)
        environment = {**HOSTED, "packages": {"python": ["greeting"]}}
        session = talk.create(server.client, f"run true # {mark}", environment=environment)
        assert "could not be installed" in talk.settled(server.client, session.id, "failed").error
        assert len(registry.asked) == before
    finally:
        server.stop()
