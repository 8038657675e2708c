#!/usr/bin/env bash
# Instructions per event, by callgrind: of twice as many events less of once, so that setting up does
# not count. The same whatever else the machine does.
# Usage: benches/icount.sh [WORKLOAD...]
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "icount: skipped, since there is no valgrind"; exit 0; }
cargo build --release --quiet -p benches --bin icount
bin=${CARGO_TARGET_DIR:-target}/release/icount
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bin" "$@" 2>&1 |
        sed -n 's/.*Collected : //p'
}
for workload in "${@:-a1000}"; do
    for candidate in stage-core tokio-mpsc tokio-batches; do
        n=40000
        once=$(count "$workload" "$candidate" $n)
        twice=$(count "$workload" "$candidate" $((2 * n)))
        awk -v w="$workload" -v c="$candidate" -v d=$((twice - once)) -v n=$n \
            'BEGIN { printf "%-8s %-15s %8.1f\n", w, c, d / n }'
    done
done
