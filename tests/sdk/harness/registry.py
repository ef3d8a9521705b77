"""A registry of one Python package and one npm package, on loopback."""

import base64
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile

# Not a name that anybody resolves: the server is told where it is.
HOST = "packages.tenure.test"


def wheel(name, version, source):
    """A wheel (PEP 427) with one module and one script."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-says = {name}:main\n",
    }

    def row(path, content):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip("=")
        return f"{path},sha256={digest},{len(content)}"

    record = "\n".join([*(row(path, content) for path, content in files.items()), f"{info}/RECORD,,"])
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for path, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, content)
    return made.getvalue()


def tarball(name, version, source):
    """An npm package with one module and one script."""
    manifest = json.dumps({"name": name, "version": version, "main": "index.js", "bin": {f"{name}-says": "bin.js"}})
    bin = f'#!/usr/bin/env node\nconsole.log(require("./index.js"))\n'
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for path, content in {"package.json": manifest, "index.js": source, "bin.js": bin}.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content.encode()))
    return made.getvalue()


class Registry:
    """Serves `greeting` 1.0, as a Python package and as an npm package, and counts what it was asked."""

    def __init__(self):
        registry, self.asked = self, []
        python = wheel("greeting", "1.0", 'TEXT = "from python"\n\n\ndef main():\n    print(TEXT)\n')
        npm = tarball("greeting", "1.0.0", 'module.exports = "from npm";\n')

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                registry.asked.append(self.path)
                kind, body = registry.answers.get(self.path.rstrip("/"), (None, b""))
                self.send_response(200 if kind else 404)
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        port = self.server.server_address[1]
        self.python_index = f"http://{HOST}:{port}/simple/"
        self.npm_registry = f"http://{HOST}:{port}/npm/"
        file = "greeting-1.0-py3-none-any.whl"
        dist = {"tarball": f"http://{HOST}:{port}/files/greeting-1.0.0.tgz", "shasum": hashlib.sha1(npm).hexdigest()}
        version = {"name": "greeting", "version": "1.0.0", "bin": {"greeting-says": "bin.js"}, "dist": dist}
        packument = {"name": "greeting", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        page = f'<!DOCTYPE html><a href="../../files/{file}#sha256={hashlib.sha256(python).hexdigest()}">{file}</a>'
        self.answers = {
            "/simple/greeting": ("text/html", page.encode()),
            "/npm/greeting": ("application/json", json.dumps(packument).encode()),
            f"/files/{file}": ("application/zip", python),
            "/files/greeting-1.0.0.tgz": ("application/gzip", npm),
        }
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def settings(self):
        """What an operator writes to let environments install from here."""
        return {
            "packages": {
                "python_index": self.python_index,
                "npm_registry": self.npm_registry,
                "private_hosts": {HOST: "127.0.0.1"},
            }
        }

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
