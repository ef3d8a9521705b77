"""The official executor, unmodified, with the real server and a scripted model. `cargo xtask codex` runs this."""

import os

from harness import talk, wait
from harness.executor import Executor
from test_self_hosted import command, connected, environment, executor_key, opened, place

__all__ = ["environment", "executor_key", "place"]


def official(session, directory, home, *args, **env):
    """`codex exec-server` with a home of its own."""
    home.mkdir()
    env = {"CODEX_HOME": str(home), "RUST_LOG": "warn", **env}
    binary = [os.environ["CODEX_BIN"], "exec-server"]
    return Executor(session.environment, directory, None, args=args, env=env, command=binary)


def whole_run(client, session, directory, mark):
    """A message, a command with its output, a patch, a file, and a cancelled command."""
    [action] = talk.waiting(client, session.id)
    assert action.type == "environment_connection"
    connected(client, session)
    assert talk.ended(client, session.id)[0].status == "completed"
    item = command(client, session)
    assert (item.status, item.exit_code, item.output) == ("completed", 0, f"{directory}\n{mark}\n")
    talk.turn(client, session.id, f"patch {mark}")
    assert command(client, session).output == "The patch was applied.\nA notes/patched.txt\n"
    assert (directory / "notes" / "patched.txt").read_text().strip() == mark
    [file] = client.beta.agents.environments.files.list(session.environment.id)
    assert file.path == str(directory / "notes" / "patched.txt")
    talk.send(client, session.id, talk.message(f"run touch begun; sleep 600 # {mark}"))
    wait.until((directory / "begun").exists, "the command to begin")
    talk.send(client, session.id, talk.CANCEL)
    assert talk.ended(client, session.id, 3)[-1].status == "cancelled"


def test_official_executor_encrypted(client, environment, place, tmp_path, executor_key, mark):
    session = opened(client, environment, input=f"run pwd; echo {mark}")
    with official(session, place, tmp_path / "home", CODEX_API_KEY=executor_key["key"]):
        whole_run(client, session, place, mark)


def test_official_executor_direct(client, environment, place, tmp_path, executor_key, mark):
    session = opened(client, environment, input=f"run pwd; echo {mark}")
    args = ["--remote-transport", "direct", "--aws-sigv4", "--aws-service", "tenure"]
    pair = executor_key["pair"]
    env = {"AWS_ACCESS_KEY_ID": pair["access_key_id"], "AWS_SECRET_ACCESS_KEY": pair["secret_access_key"]}
    with official(session, place, tmp_path / "home", *args, AWS_REGION="us-east-1", **env):
        whole_run(client, session, place, mark)
