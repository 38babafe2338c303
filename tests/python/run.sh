#!/usr/bin/env bash
# Clients in Python against the real service: one generated from the protocol files, one that uses
# nothing but reflection; then grpcurl and ghz, where Go is there to install them.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="$PWD/target"
python="$PWD/target/python"
source tests/tools.sh

cargo build
export HEADCOUNT="$PWD/target/debug/headcount"

if [ ! -x "$python/venv/bin/python" ]; then
    python3 -m venv "$python/venv"
fi
"$python/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/python/requirements.txt
rm -rf "$python/generated"
mkdir -p "$python/generated"
"$python/venv/bin/python" -m grpc_tools.protoc -I proto \
    --python_out="$python/generated" --grpc_python_out="$python/generated" proto/headcount/v1/*.proto
export PYTHONPATH="$python/generated:$PWD/tests/python"
export PYTHONDONTWRITEBYTECODE=1
"$python/venv/bin/python" tests/python/generated_client.py
"$python/venv/bin/python" tests/python/reflection_client.py

have_go "grpcurl and ghz are" || exit 0
install_go_tools
start_service
"$HEADCOUNT" --server "$address" import data/telco_customers.csv > /dev/null

expect() {
    if [ "$1" != "$2" ]; then
        echo "expected $2, got: $1"
        exit 1
    fi
}

one_year="$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "contract") column = i } $column == "One year" { n++ } END { print n }' data/telco_customers.csv)"
# Not through a pipe: grep -q leaves at the first match, and grpcurl would then fail to write the rest.
listed="$("$tools/grpcurl" -plaintext "$address" list)"
grep -q '^headcount.v1.QueryService$' <<< "$listed"
described="$("$tools/grpcurl" -plaintext "$address" describe headcount.v1.QueryService.Count)"
grep -q CountRequest <<< "$described"
answer="$("$tools/grpcurl" -plaintext -d "{\"filter\": \"contract = 'One year'\"}" "$address" headcount.v1.QueryService/Count)"
expect "$(echo "$answer" | sed -n 's/.*"count": "\([0-9]*\)".*/\1/p')" "$one_year"

load() {
    report="$("$tools/ghz" --insecure --count-errors -n 200 -c 4 -O json --call "$1" -d "$2" "$address")"
    expect "$(echo "$report" | "$python/venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["statusCodeDistribution"])')" "{'OK': 200}"
}
load headcount.v1.QueryService/Count "{\"filter\": \"contract = 'One year'\"}"
load headcount.v1.QueryService/Check "{\"user_id\": \"customer-0001\", \"filters\": [\"tenure <= 6\"]}"
load headcount.v1.IngestService/Write '{"updates": [{"user_id": "u1", "increment": {"visits": {"int64_value": "1"}}}]}'
visits="$("$HEADCOUNT" --server "$address" --output json user get u1 | sed -n 's/.*"visits": \([0-9]*\).*/\1/p')"
expect "$visits" 200
echo "grpcurl and ghz: 6 passed, 0 failed"
