# Clients that are written in Go, for scripts that `source` this file from the root of the project: installed below target/ at
# versions that are named here.
tools="$PWD/target/tools"

# Whether Go is there; where it is not, says what is left out.
have_go() {
    if ! command -v go > /dev/null; then
        echo "Go is not installed: $1 left out"
        return 1
    fi
}

install_go_tools() {
    mkdir -p "$tools"
    [ -x "$tools/grpcurl" ] || GOBIN="$tools" go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3
    [ -x "$tools/ghz" ] || GOBIN="$tools" go install github.com/bojand/ghz/cmd/ghz@v0.120.0
}

# Starts the program in $HEADCOUNT over a new folder. Sets `folder`, `service` and `address`; ends with the script.
start_service() {
    folder="$(mktemp -d)"
    "$HEADCOUNT" serve --data "$folder/data" --listen 127.0.0.1:0 > "$folder/out" 2> "$folder/log" &
    service=$!
    trap 'kill "$service" 2> /dev/null || true; wait "$service" 2> /dev/null || true; rm -rf "$folder"' EXIT
    for _ in $(seq 100); do
        grep -q "serving on" "$folder/out" && break
        sleep 0.1
    done
    address="$(sed -n 's|^serving on http://||p' "$folder/out")"
    if [ -z "$address" ]; then
        echo "the service did not start:"
        cat "$folder/log"
        exit 1
    fi
}
