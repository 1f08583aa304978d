#!/usr/bin/env bash
# How fast is a catalogue imported, searchable, and indexed? Prints rows per second for each, and the server's memory.
#   benches/import/run.sh [ROWS [DIMENSION [make.py's options...]]]     after `make build`; default 1000000 256
# A server of its own runs on an empty folder beside the data ($SIDEREUS_BENCH, default in the cache folder).
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh
rows=${1:-1000000} dimension=${2:-256}
shift $(($# > 2 ? 2 : $#))
bin="${SIDEREUS_BIN:-$CARGO_TARGET_DIR/release/sidereus}"
work="${SIDEREUS_BENCH:-$SIDEREUS_CACHE/bench}"
input="$work/import-$rows-$dimension$(printf '%s' "$@")"
[ -e "$input/.complete" ] || { "$SIDEREUS_PYTHON/bin/python" benches/import/make.py "$input" "$rows" "$dimension" "$@"; touch "$input/.complete"; }
data=$(mktemp -d "$work/data.XXXXXX")
server=
stop() { [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true; rm -rf "$data"; }
trap stop EXIT

"$bin" serve --data "$data/db" --grpc 127.0.0.1:0 --log "${SIDEREUS_BENCH_LOG:-warn}" >"$data/out" 2>"$data/log" &
server=$!
for _ in $(seq 300); do grep -q '^listening' "$data/out" && break; sleep 0.1; done
export SIDEREUS_SERVER="http://$(sed -n 's|^listening on grpc://\([^ ]*\).*|\1|p' "$data/out")"

now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{printf "%.2f", $1 - $2}'; }
rate() { awk -v rows="$rows" -v bytes=$((4 * rows * dimension)) -v seconds="$1" \
  'BEGIN {printf "%.0f rows/s, %.0f MB/s of vectors", rows / seconds, bytes / seconds / 1e6}'; }
memory() { awk '/VmHWM|VmRSS/ {printf "%s %.0f MiB  ", $1, $2 / 1024}' "/proc/$server/status"; }

# Both sides begin with the files in the page cache, and the disk with nothing to do.
cat "$input"/* >/dev/null
sync
source=emb; [ ! -e "$input/vec.npy" ] || source="$input/vec.npy"
started=$(now)
"$bin" import bench "$input/cat.parquet" --create --vectors "emb=$source" --metric cosine
seconds=$(since "$started")
echo "durable:    $seconds s, $(rate "$seconds")"
"$bin" search bench --like 7 --format csv >/dev/null
seconds=$(since "$started")
echo "searchable: $seconds s, $(rate "$seconds")"
echo "memory:     $(memory)"
until "$bin" index status bench --format json | grep -Eq '"tail_rows": ?0\b'; do sleep 0.2; done
seconds=$(since "$started")
echo "indexed:    $seconds s, $(rate "$seconds")"
sleep 1
echo "memory:     $(memory)"
cat "$data/log" >&2
