"""Uploaded files: what the SDK's `client.files` needs, and files by id in environments."""

import asyncio
import hashlib
import http.client
import io
from urllib.parse import urlsplit

import openai
import pytest

from harness import talk, wait
from harness.shape import raw, refused, valid

HOSTED = {"type": "openai_hosted", "network": {"access": "disabled"}}
PIECE = 4 * 1024 * 1024


def upload(client, name, content, **options):
    return client.files.create(file=(name, content), purpose="user_data", **options)


def by_id(file, path):
    return {"type": "file_id", "file_id": file.id, "path": path}


def output(client, session_id):
    return talk.items(client, session_id, "command_execution")[-1].output


def test_file_crud(client, mark):
    file = upload(client, f"dir/{mark}.csv", b"a,b\n1,2\n")
    assert valid(file) == {
        "id": file.id,
        "object": "file",
        "bytes": 8,
        "created_at": file.created_at,
        "expires_at": None,
        "filename": f"{mark}.csv",
        "purpose": "user_data",
        "status": "processed",
        "status_details": None,
    }
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == b"a,b\n1,2\n"
    assert valid(client.files.delete(file.id)) == {"id": file.id, "object": "file", "deleted": True}
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with refused(404, kind="not_found_error"):
            gone(file.id)
    assert file.id not in [one.id for one in client.files.list()]


def test_file_needs_no_beta(client):
    response = raw(client, "GET", "/files", headers={"OpenAI-Beta": None})
    assert response.status_code == 200 and response.json()["object"] == "list"


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, 2 * PIECE + 12_345])
def test_file_content(client, size):
    content = hashlib.shake_128(str(size).encode()).digest(size)
    file = upload(client, "é \"q\".bin", content)
    assert (file.bytes, file.filename) == (size, 'é "q".bin')
    response = client.files.with_raw_response.content(file.id)
    assert response.headers["content-length"] == str(size)
    assert hashlib.sha256(response.content).digest() == hashlib.sha256(content).digest()
    client.files.delete(file.id)


def test_file_list(own_server, mark):
    client = own_server.client
    ids = [upload(client, f"{mark}{number}", mark).id for number in range(5)]
    ids.append(client.files.create(file=io.BytesIO(b"x"), purpose="vision").id)
    assert [file.id for file in client.files.list()] == ids[::-1]
    assert [file.id for file in client.files.list(order="asc", limit=2)] == ids
    assert [file.id for file in client.files.list(purpose="user_data", order="asc", limit=2)] == ids[:5]
    assert [file.id for file in client.files.list(purpose="vision")] == ids[5:]
    assert [file.id for file in client.files.list(purpose="batch")] == []
    page = client.files.list(order="asc", after=ids[1], limit=3)
    assert ([file.id for file in page.data], page.has_more) == (ids[2:5], True)
    with refused(400):
        client.files.list(after="nowhere")


def test_file_mistakes(client):
    for purpose, says in (("batch", "no batches"), ("fine-tune", "no fine-tuning"), ("evals", "no evals")):
        with refused(400, param="purpose", code="unsupported_feature", says=says):
            client.files.create(file=b"x", purpose=purpose)
    with refused(400, param="purpose", code="invalid_value"):
        client.files.create(file=b"x", purpose="mine")
    for seconds in (3599, 2592001):
        with refused(400, param="expires_after.seconds"):
            upload(client, "x", b"x", expires_after={"anchor": "created_at", "seconds": seconds})
    file = upload(client, "x", b"x", expires_after={"anchor": "created_at", "seconds": 3600})
    assert file.expires_at == file.created_at + 3600

    def form(*parts, boundary="B"):
        body = "".join(f"--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n" for head, text in parts)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        response = raw(client, "POST", "/files", (body + "--B--\r\n").encode(), headers=headers)
        error = response.json()["error"]
        return response.status_code, error["code"], error["param"]

    a_file, purpose = ('name="file"; filename="x"', "x"), ('name="purpose"', "user_data")
    assert form(purpose) == (400, "missing_required_parameter", "file")
    assert form(a_file) == (400, "missing_required_parameter", "purpose")
    assert form(purpose, ('name="file"', "x")) == (400, "invalid_value", "file")
    assert form(purpose, a_file, a_file) == (400, "bad_parameter", "file")
    assert form(purpose, a_file, ('name="colour"', "x")) == (400, "unknown_parameter", "colour")
    assert form(purpose, a_file, boundary="C") == (400, "bad_form", None)
    response = raw(client, "POST", "/files", {"purpose": "user_data"})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "content_type")


def test_file_too_large(client):
    """It is refused by what it declares, before any of it is read."""
    url = urlsplit(str(client.base_url))
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("Authorization", f"Bearer {client.api_key}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=B")
    connection.putheader("Content-Length", str(600 * 1024 * 1024))
    connection.endheaders()
    response = connection.getresponse()
    body = response.read().decode()
    assert response.status == 413 and "Split the file" in body, body
    connection.close()


def test_file_idempotency(client, mark):
    again = {"extra_headers": {"Idempotency-Key": mark}}
    first = upload(client, "x", mark, **again)
    assert upload(client, "x", mark, **again) == first
    with refused(409, code="idempotency_mismatch"):
        upload(client, "x", mark + "!", **again)


def test_environment_file_by_id(client, mark):
    small, large = upload(client, "small", mark), upload(client, "large", mark.encode() * (PIECE // 8))
    files = [by_id(small, "/workspace/in/small.txt"), by_id(large, "/workspace/large.bin")]
    command = f"run cat in/small.txt; wc -c < large.bin; sha256sum < large.bin # {mark}"
    session = talk.create(client, command, environment={**HOSTED, "files": files})
    # What happens to the uploads afterwards does not matter to the session.
    client.files.delete(small.id)
    client.files.delete(large.id)
    talk.ended(client, session.id)
    session = client.beta.agents.sessions.retrieve(session.id)
    digest = hashlib.sha256(mark.encode() * (PIECE // 8)).hexdigest()
    assert output(client, session.id).replace("-", "").split() == [f"{mark}{large.bytes}", digest]
    shown = valid(session)["environment"]["files"]
    assert [{**file, "id": None} for file in shown] == [
        {**file, "id": None, "size_bytes": size.bytes} for file, size in zip(files, (small, large))
    ]
    with refused(404, param="environment.files[0].file_id"):
        talk.create(client, f"say x {mark}", environment={**HOSTED, "files": files})
    with refused(404, param="environment.files[0].file_id"):
        wrong = {**files[0], "file_id": "file-abc"}
        talk.create(client, f"say x {mark}", environment={**HOSTED, "files": [wrong]})


def test_place_file_by_id(client, mark):
    session = client.beta.agents.sessions.create(agent={"model": "m1"}, environment=HOSTED)
    environment = session.environment.id
    path = f"/agents/environments/{environment}"
    wait.until(lambda: raw(client, "GET", path).json()["status"] == "connected", "the environment to be ready")
    file = upload(client, "x", mark)
    placed = client.beta.agents.environments.files.create(environment, **by_id(file, "/workspace/a/b.txt"))
    assert (placed.path, placed.size_bytes) == ("/workspace/a/b.txt", len(mark))
    talk.turn(client, session.id, f"run cat a/b.txt # {mark}")
    assert output(client, session.id) == mark
    client.files.delete(file.id)
    with refused(404, param="file_id"):
        client.beta.agents.environments.files.create(environment, **by_id(file, "/workspace/c"))


def test_environment_file_by_id_is_bounded(client):
    file = upload(client, "x", bytes(50 * 1024 * 1024 + 1))
    with refused(400, param="environment.files[0].file_id", code="file_too_large"):
        talk.create(client, "say x", environment={**HOSTED, "files": [by_id(file, "/workspace/x")]})
    client.files.delete(file.id)


def test_restart_in_an_upload(own_server, mark):
    """An upload that the server's death cut off left no file; repeating it makes one."""
    url = urlsplit(own_server.url)
    head = '--B\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
    start = (head.format("purpose", "") + "user_data\r\n" + head.format("file", '; filename="x"')).encode()
    content = mark.encode() * (PIECE // 4)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("Authorization", f"Bearer {own_server.client.api_key}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=B")
    connection.putheader("Content-Length", str(len(start) + len(content) + 9))
    connection.endheaders()
    # More than a piece: some of it is on the disk when the server dies.
    connection.send(start + content[: len(content) // 2])
    own_server.restart()
    connection.close()
    client = own_server.client
    assert list(client.files.list()) == []
    file = upload(client, "x", content)
    assert client.files.content(file.id).read() == content
    own_server.restart()
    assert own_server.client.files.content(file.id).read() == content


def test_async_files(server, mark):
    async def scenario():
        async with server.new_client(openai.AsyncOpenAI) as client:
            file = await client.files.create(file=("x", mark.encode()), purpose="user_data")
            assert (await client.files.content(file.id)).read() == mark.encode()
            assert (await client.files.delete(file.id)).deleted

    asyncio.run(scenario())
