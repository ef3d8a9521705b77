"""A tool server that runs in an environment, over standard input and output. Needs nothing but Python.

`act` says nothing of itself, so it is never repeated; `look` only reads. What either answers is JSON.
"""

import json
import os
import sys
import threading

TOOLS = [
    {"name": "act", "description": "Does something.", "inputSchema": {"type": "object"}},
    {
        "name": "look",
        "description": "Looks.",
        "inputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": True},
    },
]


def state(count):
    return {"count": count, "pid": os.getpid(), "cwd": os.getcwd(), "env": sorted(os.environ)}


def call(name, what, text, count):
    with open("calls.txt", "a") as calls:
        calls.write(f"{name} {what}\n")
    match what:
        case "note":
            with open("notes.txt", "a") as notes:
                notes.write(f"{text}\n")
        case "die":
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        case "hang":
            threading.Event().wait()
        case "slow":
            threading.Event().wait(2)
    return state(count)


def answer(request, count):
    match request["method"]:
        case "initialize":
            version = request["params"]["protocolVersion"]
            info = {"name": "box", "version": "1"}
            return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            arguments = request["params"]["arguments"]
            said = call(request["params"]["name"], arguments["what"], arguments["text"], count)
            said["key"] = request["params"]["_meta"]["tenure/idempotency-key"]
            return {"content": [{"type": "text", "text": json.dumps(said)}]}
        case _:
            return {}


def main():
    count = 0
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        count += request["method"] == "tools/call"
        reply = {"jsonrpc": "2.0", "id": request["id"], "result": answer(request, count)}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
