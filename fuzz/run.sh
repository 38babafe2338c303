#!/usr/bin/env bash
# Runs every target, or those that are named, for so many seconds each: from the kept corpus in
# fuzz/seeds/, and from what earlier runs found worth keeping in fuzz/corpus/. Ends with 1 on any
# finding, with the bytes that caused it in fuzz/artifacts/.
#
#     fuzz/run.sh SECONDS [TARGET..]
#
# HEADCOUNT_FUZZ_BUILD=release takes three times as long to build and runs faster: for long runs.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?"usage: fuzz/run.sh SECONDS [TARGET..]"}
shift
# Checked when this was written; another one may be on the path.
cargo_fuzz="$PWD/target/tools/bin/cargo-fuzz"
[ -x "$cargo_fuzz" ] || cargo_fuzz=cargo-fuzz
build=(--dev)
[ "${HEADCOUNT_FUZZ_BUILD:-dev}" = release ] && build=(--release)
build+=(--target-dir "$PWD/target/fuzz")
# The stable compiler lets the sanitizers be used only so.
export RUSTC_BOOTSTRAP=1
# Some targets write files.
[ -d /dev/shm ] && [ -w /dev/shm ] && export TMPDIR=/dev/shm

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi

"$cargo_fuzz" fuzz build "${build[@]}"
failed=()
for target in "${targets[@]}"; do
    printf '\n-- %s\n' "$target"
    corpus="fuzz/corpus/$target"
    mkdir -p "$corpus"
    options=(-max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=0 -verbosity=0)
    case "$target" in
        filter_text | request) options+=(-dict=fuzz/filter.dict -max_len=4096) ;;
        import_csv | import_ndjson | settings) options+=(-max_len=4096) ;;
    esac
    if ! "$cargo_fuzz" fuzz run "${build[@]}" "$target" "$corpus" "fuzz/seeds/$target" -- "${options[@]}"; then
        failed+=("$target")
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    printf '\nfound something: %s\n' "${failed[*]}"
    exit 1
fi
printf '\n%s targets, %s s each: nothing was found\n' "${#targets[@]}" "$seconds"
