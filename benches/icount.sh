#!/usr/bin/env bash
# Instructions per event, on one thread, u64 events: the difference between N and 2N events, so that
# starting and stopping does not count. It is the same on a busy machine.
#
#     benches/icount.sh                  # all workloads, stage-core and tokio-mpsc
#     benches/icount.sh a10 d            # some of them
#     CANDIDATES=flume benches/icount.sh # others
#     benches/icount.sh --check [a10 …]  # ours alone; fails if one is over what benches/BASELINE.md has by 2 %
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v valgrind >/dev/null; then
    echo "icount: skipped, valgrind is not installed (Debian: apt-get install valgrind)"
    exit 0
fi
check=
if [ "${1:-}" = --check ]; then
    check=1
    CANDIDATES=stage-core
    shift
fi
read -ra workloads <<<"${*:-a1000 a10 a1 b c d e f}"
read -ra candidates <<<"${CANDIDATES:-stage-core tokio-mpsc}"
events=${EVENTS:-40000}
cargo build --quiet --release -p benches --bin icount
program=${CARGO_TARGET_DIR:-target}/release/icount

# What is recorded of ours.
recorded() {
    awk -F'|' -v name="$1" '{ gsub(/ /, "") } $2 == name { print $3; exit }' benches/BASELINE.md
}

# Instructions of one run.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

exceeded=0
printf '%-8s' ''
printf ' %20s' "${candidates[@]}"
echo
for workload in "${workloads[@]}"; do
    printf '%-8s' "$workload"
    for candidate in "${candidates[@]}"; do
        once=$(count "$workload" "$candidate" "$events")
        twice=$(count "$workload" "$candidate" $((2 * events)))
        each=$(awk -v d=$((twice - once)) -v n="$events" 'BEGIN { printf "%.1f", d / n }')
        printf ' %20s' "$each"
        if [ -n "$check" ] && ! awk -v n="$each" -v r="$(recorded "$workload")" 'BEGIN { exit !(n <= r * 1.02) }'; then
            printf '  more than %s by 2 %%' "$(recorded "$workload")"
            exceeded=1
        fi
    done
    echo
done
exit "$exceeded"
