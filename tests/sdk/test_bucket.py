"""Payloads in an object store: two nodes on one PostgreSQL and one bucket."""

import json
import os
import subprocess

import openai
import pytest

from harness import talk
from harness.bucket import KEYS, Bucket
from harness.cluster import Cluster
from harness.postgres import Postgres
from harness.process import BINARY
from harness.server import Server

HOSTED = {"type": "openai_hosted", "network": {"access": "disabled"}}
# More than is kept in a row.
SIZE = 200_000


@pytest.fixture(scope="module")
def bucket():
    bucket = Bucket()
    yield bucket
    bucket.stop()


@pytest.fixture(scope="module")
def nodes(directory, upstream, bucket):
    cluster = Cluster(directory / "bucket", upstream.url, blobs=bucket.url, env=KEYS)
    yield cluster
    cluster.stop()


def content(mark):
    return (mark * SIZE).encode()[:SIZE]


def put(client, bucket, mark):
    """A file, and the key of the object that holds it."""
    before = bucket.objects()
    file = client.files.create(file=(mark, content(mark)), purpose="user_data")
    [key] = bucket.objects() - before
    return file, key


def test_a_payload_is_read_by_another_node_and_after_both_were_killed(nodes, bucket, mark):
    one, other = (node.client for node in nodes.nodes)
    file, key = put(one, bucket, mark)
    assert bucket.read(key) == content(mark)
    assert other.files.content(file.id).read() == content(mark)
    for node in nodes.nodes:
        node.kill()
    for node in nodes.nodes:
        node.start()
    for node in nodes.nodes:
        assert node.client.files.content(file.id).read() == content(mark)


def test_files_of_an_environment_go_on_at_another_node(nodes, bucket, mark):
    one, other = nodes.nodes
    before = bucket.objects()
    made = talk.create(one.client, f"run head -c {SIZE} /dev/zero | tr '\\0' x > made; echo {mark}", environment=HOSTED)
    talk.ended(one.client, made.id)
    assert bucket.objects() - before
    one.kill()
    talk.send(other.client, made.id, talk.message(f"run wc -c < made # {mark}"))
    talk.ended(other.client, made.id, 2)
    [_, counted] = talk.items(other.client, made.id, "command_execution")
    assert counted.output.split() == [str(SIZE)]
    one.start()


def test_nothing_is_acknowledged_that_cannot_be_kept(nodes, bucket, mark):
    client = nodes.nodes[0].client.with_options(max_retries=0, timeout=120)
    bucket.stop()
    try:
        with pytest.raises(openai.InternalServerError) as refused:
            client.files.create(file=(mark, content(mark)), purpose="user_data")
        assert refused.value.status_code == 503, refused.value
        # What is small needs no bucket.
        talk.finished(client, f"say {mark}")
    finally:
        bucket.start()
    assert mark not in [file.filename for file in client.files.list()]
    file, _ = put(client, bucket, mark)
    assert client.files.content(file.id).read() == content(mark)


def tenure(server, postgres, *args):
    """A command beside a server's project, with the key of the bucket."""
    return subprocess.run(
        [os.path.abspath(BINARY) if os.sep in BINARY else BINARY, *args, "-o", "json"],
        capture_output=True,
        env={**KEYS, "PATH": "/usr/bin:/bin", "HOME": str(server.directory), "TENURE_DATABASE_URL": postgres.url},
        cwd=server.project,
    )


def test_what_is_moved_to_a_cluster_goes_there(tmp_path, upstream, bucket, mark):
    before, postgres = bucket.objects(), Postgres(fsync=True)
    try:
        one = Server(tmp_path / "one", upstream.url)
        file = one.client.files.create(file=(mark, content(mark)), purpose="user_data")
        one.stop()
        moving = ("migrate", "--data-dir", str(one.data), "--from", "sqlite", "--to", "postgres", "--blobs", bucket.url)
        moved = tenure(one, postgres, *moving)
        assert moved.returncode == 0, moved
        [key] = bucket.objects() - before
        assert bucket.read(key) == content(mark)
        key_file = one.data / "sealing.key"
        node = Server(
            tmp_path / "node", upstream.url, database=postgres.url, sealing_key=key_file, blobs=bucket.url, env=KEYS
        )
        assert node.client.files.content(file.id).read() == content(mark)
        node.stop()
    finally:
        postgres.stop()


def test_a_lost_object_is_found_and_named(nodes, bucket, mark):
    client = nodes.nodes[0].client.with_options(max_retries=0)
    file, key = put(client, bucket, mark)
    bucket.remove(key)
    with pytest.raises(openai.APIError):
        client.files.content(file.id).read()
    looked = tenure(nodes.nodes[0], nodes.postgres, "doctor", "--blobs", bucket.url)
    assert looked.returncode == 1, looked
    [checked] = [check for check in json.loads(looked.stdout) if check["id"] == "database"]
    digest = key.split("b3-")[1][:64]
    assert checked["verdict"] == "fail" and digest in checked["detail"], checked
