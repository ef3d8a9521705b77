"""Shapes and refusals: what the SDK's types promise, checked for once."""

import contextlib
import json

import openai
import pydantic


def valid(value):
    """Checks a response against its own SDK type, which the SDK does not do, and returns it as JSON."""
    data = value.to_dict(mode="json", exclude_unset=True, use_api_names=True)
    type(value).model_validate(data)
    return data


def valid_as(kind, data):
    pydantic.TypeAdapter(kind).validate_python(data)
    return data


@contextlib.contextmanager
def refused(status, *, param=..., code=..., kind=..., says=""):
    """The block must be answered with this error, in the documented envelope."""
    try:
        yield
    except openai.APIStatusError as error:
        body = error.response.json()
        assert error.status_code == status, body
        assert set(body["error"]) >= {"message", "type", "code", "param"}, body
        assert error.request_id, "a refusal carries its request id"
        for key, wanted in (("param", param), ("code", code), ("type", kind)):
            assert wanted is ... or body["error"][key] == wanted, body
        assert says in body["error"]["message"], body
        return
    raise AssertionError(f"was not refused with {status}")


def raw(client, method, path, body=None, **options):
    """A request past the SDK's own idea of it; the response whatever its status."""
    headers = {"OpenAI-Beta": "agents=v1", **options.pop("headers", {})}
    headers = {name: value for name, value in headers.items() if value is not None}
    url = f"{str(client.base_url).rstrip('/')}{path}"
    key = options.pop("key", client.api_key)
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    content = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
    if content is not None:
        headers.setdefault("Content-Type", "application/json")
    return client._client.request(method, url, headers=headers, content=content, **options)
