"""`tenure serve` with a project, a data directory and clients."""

import json

import openai

from .process import Process

KEY = "tenure-test-key"
UPSTREAM_KEY = "upstream-test-key"
CLIENT_SECONDS = 30


def settings(upstream_url, limits, environments, memory):
    """`tenure.yaml`: the same upstream over both wire formats, and a model with a price."""
    provider = {"type": "openai", "base_url": upstream_url, "api_key": "${OPENAI_API_KEY}"}
    # Eighteen tokens, as the script counts a `count` answer, cost 1.8 cents.
    price = {"input": 1000, "cached_input": 1000, "output": 1000}
    return {
        "providers": {"first": {**provider, "wire": "responses"}, "second": {**provider, "wire": "chat"}},
        "models": {
            "m1": {"provider": "first", "model": "m1"},
            "m2": {"provider": "first", "model": "m2"},
            "m1-chat": {"provider": "second", "model": "m1"},
            "priced": {"provider": "first", "model": "m1", "price_usd_per_million": price, "output_tokens_max": 20},
        },
        "default_model": "m1",
        "limits": limits,
        "webhooks": {"allow_loopback": True},
        "vaults": {"allow_loopback": True},
        "environments": environments,
        **({"memory": memory} if memory else {}),
    }


class Server:
    """A server that can be killed and started again on what it left behind."""

    def __init__(self, directory, upstream_url, *, configured=True, limits=None, environments=None, database=None, sealing_key=None, blobs=None, env=None, memory=None):
        self.env = env or {}
        self.directory, self.upstream_url = directory, upstream_url
        self.database, self.sealing_key, self.blobs = database, sealing_key, blobs
        self.project, self.data, self.log = directory / "project", directory / "data", directory / "server.log"
        (self.project / "agents").mkdir(parents=True)
        (self.project / "agents" / "assistant.md").write_text("---\nmodel: m1\n---\nBe brief.\n")
        if configured:
            # JSON is YAML.
            (self.project / "tenure.yaml").write_text(json.dumps(settings(upstream_url, limits or {}, environments or {}, memory)))
        self.process = None
        self.start()

    def start(self, port=0):
        env = {
            "OPENAI_BASE_URL": self.upstream_url,
            "OPENAI_API_KEY": UPSTREAM_KEY,
            "TENURE_API_KEY": KEY,
            **self.env,
        }
        args = ["--project", self.project, "--data-dir", self.data, "serve", "--port", port]
        if self.database:
            env["TENURE_DATABASE_URL"] = self.database
            args += ["--sealing-key", self.sealing_key]
            args += ["--blobs", self.blobs] if self.blobs else []
        self.process = Process(args, log=self.log, env=env, cwd=self.project)
        self.url = self.process.url.rstrip("/")
        self.client = self.new_client()

    def new_client(self, kind=openai.OpenAI, **options):
        return kind(**{"base_url": self.url, "api_key": KEY, "timeout": CLIENT_SECONDS, **options})

    def kill(self):
        self.client.close()
        self.process.kill()

    def restart(self):
        self.kill()
        self.start()

    def stop(self):
        self.client.close()
        self.process.stop()
