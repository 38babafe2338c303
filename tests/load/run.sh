#!/usr/bin/env bash
# Every method of the protocol under ghz: so many calls of each, and one table. Fails if a call fails, or if a method has no
# data file.
#
#     tests/load/run.sh [CALLS [ADDRESS]]
#
# CALLS of each method, 200 if left out. Starts a service of its own over the sample customers ($HEADCOUNT, or the
# debug build); with ADDRESS it takes a running one, which must have no populations `ghz` and `ghz-few` yet.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="$PWD/target"
source tests/tools.sh
have_go "the load of all methods is" || exit 0
install_go_tools

calls="${1:-200}"
data=tests/load/data
# Each call of some methods makes something of its own, and there are at most 1,000 properties.
if ! [[ "$calls" =~ ^[0-9]+$ ]] || [ "$calls" -lt 1 ] || [ "$calls" -gt 900 ]; then
    echo "CALLS is from 1 to 900, not $calls"
    exit 2
fi
if [ -z "${HEADCOUNT:-}" ]; then
    cargo build
    HEADCOUNT="$PWD/target/debug/headcount"
fi
if [ $# -ge 2 ]; then
    address="$2"
    reports="$(mktemp -d)"
    trap 'rm -rf "$reports"' EXIT
else
    start_service
    reports="$folder"
fi
ask() {
    "$HEADCOUNT" --server "$address" --population ghz "$@"
}
if ask --output json populations | grep -qE '"ghz(-few)?"'; then
    echo "there is a population ghz or ghz-few already at $address"
    exit 2
fi

# What there is to ask of.
ask import data/telco_customers.csv > /dev/null
awk -F, -v visited="$(date -u -d '-2 days' +%FT%TZ)" -v ordered="$(date -u -d '-40 days' +%FT%TZ)" '
    NR == 1 { print "user_id,event,timestamp,value"; next }
    NR <= 2000 { print $1 ",visit," visited ","; print $1 ",order," ordered "," NR % 90 ".5" }
' data/telco_customers.csv > "$reports/events.csv"
ask import "$reports/events.csv" --events > /dev/null
ask segments create leaving "churn = 'Yes' AND tenure <= 12" > /dev/null
ask segments create visitors "count(visit, 30d) >= 1" > /dev/null
# The index is compared for so few users that hundreds of calls take no minutes.
head -n 101 data/telco_customers.csv > "$reports/few.csv"
"$HEADCOUNT" --server "$address" --population ghz-few import "$reports/few.csv" > /dev/null
printf 'customer-%04d\n' 1 17 421 1234 > "$reports/asked.txt"
ask segments create asked --list --from-file "$reports/asked.txt" > /dev/null

# What is made goes before what is deleted, and has the same names: the numbers of the calls.
methods="
IngestService.Write IngestService.WriteStream
QueryService.Count QueryService.BatchCount QueryService.Check QueryService.BatchCheck
QueryService.ListMembers QueryService.StreamMembers QueryService.Breakdown QueryService.Summarize
QueryService.Explain QueryService.Overlap QueryService.Compare QueryService.ExportMembers
UserService.GetUser UserService.DeleteUser
SegmentService.CreateSegment SegmentService.GetSegment SegmentService.ListSegments
SegmentService.UpdateSegment SegmentService.AddSegmentMembers SegmentService.RemoveSegmentMembers
SegmentService.ListUserSegments SegmentService.WatchSegments SegmentService.PreviewSegment
SegmentService.DeleteSegment
SchemaService.CreateProperty SchemaService.GetProperty SchemaService.ListProperties
SchemaService.ListValues SchemaService.DeleteProperty
SchemaService.CreateEvent SchemaService.GetEvent SchemaService.UpdateEvent SchemaService.ListEvents
SchemaService.DeleteEvent
AdminService.CreateSnapshot AdminService.Backup AdminService.Verify AdminService.ListPopulations AdminService.GetStats
"

# All that the service tells of itself has a data file and a place in the list.
missing=0
for service_name in $("$tools/grpcurl" -plaintext "$address" list | grep '^headcount\.v1\.'); do
    for method in $("$tools/grpcurl" -plaintext "$address" list "$service_name"); do
        short="${method#headcount.v1.}"
        if [ ! -f "$data/$short.json" ] || ! grep -qw -- "$short" <<< "$methods"; then
            echo "$short has no data file in $data, or no place in tests/load/run.sh"
            missing=1
        fi
    done
done
[ "$missing" = 0 ] || exit 1

for method in $methods; do
    options=(--insecure --count-errors --connections 2 --concurrency 4 --total "$calls" --format json
        --call "headcount.v1.$method" --data-file "$data/$method.json")
    # Templates cost ghz much of its speed: only where each call needs a name of its own.
    grep -q '{{' "$data/$method.json" || options+=(--disable-template-data)
    # Such a stream ends only with its reader: here after the first message.
    [ "$method" = SegmentService.WatchSegments ] && options+=(--stream-call-count 1)
    "$tools/ghz" "${options[@]}" "$address" > "$reports/$method.json"
done
python3 tests/load/table.py "$calls" "$reports" $methods
