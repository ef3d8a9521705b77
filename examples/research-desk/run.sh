#!/bin/sh
# Runs the example offline: three days of reports, a question each day, and the same question after a source was
# forgotten. Needs `tenure` in PATH, or TENURE=/path/to/tenure. Everything it makes is in a directory that it removes.
set -eu
cd "$(dirname "$0")"
tenure=${TENURE:-tenure}
work=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null || true; rm -rf "$work"' EXIT
export TENURE_DATA_DIR="$work/data"

: > "$work/server"
"$tenure" serve --port 0 > "$work/server" 2> "$work/server.log" &
server=$!
while ! grep -q '"listening"' "$work/server"; do
    kill -0 $server || { cat "$work/server.log"; exit 1; }
done
TENURE_URL=$(sed -n 's/.*"listening":"\([^"]*\)".*/\1/p' "$work/server")
export TENURE_URL

# Every report is a session of its own, so that it can be forgotten by itself.
read_reports_of() {
    grep -l ", $1: " reports/*.txt | while read -r report; do
        "$tenure" run desk "$(cat "$report")" -o jsonl < /dev/null > "$work/read"
        session=$(sed -n 's/.*"session":"\([^"]*\)".*/\1/p' "$work/read")
        echo "$(basename "$report" .txt) $session" >> "$work/sources"
    done
}
ask() {
    echo "? $1"
    "$tenure" run desk "$1" < /dev/null
}
capacity="What is the capacity of the Halden tidal plant?"
for date in 2026-03-02 2026-03-03 2026-03-04; do
    echo "== $date"
    read_reports_of "$date"
    ask "$capacity"
done
ask "What does the salmon vaccine of Fjord Bio protect?"

echo "== R-29 is forgotten, and what rests on it"
session=$(sed -n 's/^R-29 //p' "$work/sources")
words="Correction: the capacity of the Halden plant"
# It says that the words are still found: the answer of the third day has them from there.
"$tenure" memory forget --session "$session" --verify "$words" --out "$work/receipt" || echo "(R-29 is still quoted)"
"$tenure" memory search "Halden tidal plant capacity 55 megawatts R-29" --agent desk --limit 50 -o jsonl \
    | grep 'R-29' | sed -n 's/.*"session_id":"\([^"]*\)".*/\1/p' | sort -u > "$work/resting"
while read -r session; do
    "$tenure" memory forget --session "$session" --verify "$words"
done < "$work/resting"
ask "$capacity"
"$tenure" audit check "$work/receipt" --key "$("$tenure" audit key)"
