"""A bucket of an object store that speaks S3, in this process: moto's, which is no part of what is tested."""

import boto3
from moto.server import ThreadedMotoServer

NAME = "payloads"
REGION = "eu-central-1"
KEYS = {"AWS_ACCESS_KEY_ID": "bucket-key", "AWS_SECRET_ACCESS_KEY": "bucket-secret"}


class Bucket:
    """What is in it outlives its server, which can be stopped and started on the same port."""

    def __init__(self):
        self.port = 0
        self.start()
        self.url = f"s3://{NAME}?region={REGION}&endpoint={self.endpoint}"
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
        self.s3.create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()
        _, self.port = self.server.get_host_and_port()

    def stop(self):
        self.server.stop()

    def objects(self):
        """The keys of all objects."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=NAME)
        return {found["Key"] for page in pages for found in page.get("Contents", [])}

    def read(self, key):
        return self.s3.get_object(Bucket=NAME, Key=key)["Body"].read()

    def remove(self, key):
        self.s3.delete_object(Bucket=NAME, Key=key)
