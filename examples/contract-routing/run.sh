#!/bin/sh
# Runs the example offline: two stand-ins for providers, a server, four agents, and the proof for an auditor.
# Needs `tenure` in PATH, or TENURE=/path/to/tenure. Everything it makes is in a directory that it removes.
set -eu
cd "$(dirname "$0")"
tenure=${TENURE:-tenure}
work=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null || true; rm -rf "$work"' EXIT

# Starts a service and waits for the line that says where it listens.
start() {
    name=$1
    shift
    "$tenure" "$@" > "$work/$name" 2> "$work/$name.log" &
    pids="$pids $!"
    while ! grep -q '"listening"' "$work/$name"; do
        kill -0 $! || { cat "$work/$name.log"; exit 1; }
    done
    sed -n 's/.*"listening":"\([^"]*\)".*/\1/p' "$work/$name"
}
start azure mock azure --script scripts/model.yaml > "$work/azure.url"
start bedrock mock bedrock --script scripts/model.yaml > "$work/bedrock.url"
AZURE_URL=$(cat "$work/azure.url")
BEDROCK_URL=$(cat "$work/bedrock.url")/openai/v1
export AZURE_URL BEDROCK_URL AZURE_KEY=unused BEDROCK_KEY=unused TENURE_DATA_DIR="$work/data"

"$tenure" contracts check
start server serve --port 0 > "$work/server.url"
TENURE_URL=$(cat "$work/server.url")
export TENURE_URL
for agent in assistant fallback sessions elsewhere; do
    echo "== $agent"
    "$tenure" run "$agent" "What is a contract?" || echo "(refused)"
done

echo "== the record of the first call, and the proof that it is in the log"
"$tenure" audit key > "$work/key"
index=$("$tenure" audit list -o jsonl | sed -n '/stateless-on-azure.*attempt_started/{s/.*"id":"\([0-9]*\)".*/\1/p;q;}')
"$tenure" audit prove "$index" --out "$work"
cat "$work/record-$index.json"
echo
"$tenure" audit check "$work/record-$index.json" "$work/record-$index.tlog-proof" --key "$(cat "$work/key")"
