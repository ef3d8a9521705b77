"""A tool server that wants tokens, and the authorization server that gives them: one process, one port."""

import base64
import hashlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .recorder import Seen


class Guarded:
    """Tokens work until they are revoked; a refresh token works once."""

    def __init__(self):
        self.seen, self.lock = [], threading.Lock()
        self.valid, self.refresh_tokens, self.codes = set(), set(), {}
        self.made = 0
        # What tests change.
        self.echo = None
        self.free, self.bare = (), False
        self.life = 3600
        self.secret = None
        self.metadata, self.resource, self.token_fault = {}, {}, None
        guarded = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                guarded.handle(self)

            do_POST = do_DELETE = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def issuer(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def url(self):
        return f"{self.issuer}/mcp"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def asked(self, path):
        with self.lock:
            return [seen for seen in self.seen if urllib.parse.urlsplit(seen.path).path == path]

    def calls(self):
        """The tool calls that came with a token, or needed none."""
        calls = [seen for seen in self.asked("/mcp") if seen.body and seen.json.get("method") == "tools/call"]
        works = lambda seen: seen.headers.get("authorization", "").removeprefix("Bearer ") in self.valid
        return [seen for seen in calls if works(seen) or "tools/call" in self.free]

    def give(self, kind):
        self.made += 1
        token = f"{kind}-token-{self.server.server_port}-{self.made}"
        (self.valid if kind == "access" else self.refresh_tokens).add(token)
        return token

    def handle(self, request):
        request.close_connection = True
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(request.command, request.path, headers, body)
        path = urllib.parse.urlsplit(request.path).path
        with self.lock:
            self.seen.append(seen)
            status, document, more = self.answer(path, seen)
        payload = b"" if document is None else json.dumps(document).encode()
        request.send_response(status)
        for name, value in {"content-type": "application/json", **more}.items():
            request.send_header(name, value)
        request.send_header("content-length", str(len(payload)))
        request.send_header("connection", "close")
        request.end_headers()
        request.wfile.write(payload)

    def answer(self, path, seen):
        if path == "/mcp":
            return self.mcp(seen)
        if path == "/.well-known/oauth-protected-resource/mcp":
            return 200, {"resource": self.url, "authorization_servers": [self.issuer], **self.resource}, {}
        if path == "/.well-known/oauth-authorization-server":
            return 200, self.about(), {}
        if path == "/register":
            return 201, {"client_id": "registered", **json.loads(seen.body)}, {}
        if path == "/authorize":
            return self.authorize(seen)
        if path == "/token":
            return self.token(seen)
        return 404, {}, {}

    def about(self):
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "registration_endpoint": f"{self.issuer}/register",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }

    def mcp(self, seen):
        given = seen.headers.get("authorization", "")
        message = seen.json if seen.body else {}
        is_free = not given and message.get("method") in self.free
        if given.removeprefix("Bearer ") not in self.valid and not is_free:
            if self.bare:
                return 401, {}, {}
            metadata = f"{self.issuer}/.well-known/oauth-protected-resource/mcp"
            challenge = f'Bearer error="invalid_token", resource_metadata="{metadata}", scope="orders.read"'
            return 401, {}, {"www-authenticate": challenge}
        if "id" not in message:
            return 202, None, {}
        return 200, {"jsonrpc": "2.0", "id": message["id"], "result": self.result(message, given)}, {}

    def result(self, message, given):
        if message["method"] == "initialize":
            version = message["params"]["protocolVersion"]
            about = {"name": "guarded", "version": "1"}
            return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
        said = self.echo(given.removeprefix("Bearer ")) if self.echo else json.dumps({"total_cents": 1200})
        if message["method"] == "tools/list":
            schema = {"type": "object", "properties": {"id": {"type": "string"}}}
            described = said if self.echo else "an order"
            return {"tools": [{"name": "get_order", "description": described, "inputSchema": schema}]}
        return {"content": [{"type": "text", "text": said}]}

    def authorize(self, seen):
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(seen.path).query))
        assert asked["code_challenge_method"] == "S256" and asked["response_type"] == "code"
        assert asked["resource"] == self.url
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        back = urllib.parse.urlencode({"code": code, "state": asked["state"], "iss": self.issuer})
        return 302, {}, {"location": f"{asked['redirect_uri']}?{back}"}

    def token(self, seen):
        form = dict(urllib.parse.parse_qsl(seen.body.decode()))
        seen.form = form
        if self.token_fault:
            return self.token_fault
        if self.secret is not None and not self.authenticated(seen, form):
            return 401, {"error": "invalid_client"}, {}
        if form.get("resource") not in (None, self.url):
            return 400, {"error": "invalid_target"}, {}
        if form["grant_type"] == "authorization_code":
            asked = self.codes.pop(form["code"], None)
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if asked is None or challenge != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
                return 400, {"error": "invalid_grant"}, {}
        elif form["refresh_token"] in self.refresh_tokens:
            self.refresh_tokens.remove(form["refresh_token"])
        else:
            return 400, {"error": "invalid_grant"}, {}
        tokens = {"access_token": self.give("access"), "refresh_token": self.give("refresh")}
        return 200, {**tokens, "token_type": "Bearer", "expires_in": self.life}, {}

    def authenticated(self, seen, form):
        kind, secret = self.secret
        basic = "Basic " + base64.b64encode(f"client-1:{secret}".encode()).decode()
        if kind == "client_secret_basic":
            return seen.headers.get("authorization") == basic and "client_secret" not in form
        return form.get("client_secret") == secret and "authorization" not in seen.headers
