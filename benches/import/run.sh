#!/usr/bin/env bash
# How fast is a catalogue imported, searchable, and indexed? Prints rows per second for each, and the server's memory.
#   benches/import/run.sh [ROWS [DIMENSION [make.py's options...]]]     after `make build`; default 1000000 256
# A server of its own runs on an empty folder beside the data ($SIDEREUS_BENCH, default in the cache folder).
set -euo pipefail
cd "$(dirname "$0")/../.."
. benches/import/server.sh
rows=${1:-1000000} dimension=${2:-256}
shift $(($# > 2 ? 2 : $#))
input="$work/import-$rows-$dimension$(printf '%s' "$@")"
made "$input" "$rows" "$dimension" "$@"
start

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
until is_indexed; do sleep 0.2; done
seconds=$(since "$started")
echo "indexed:    $seconds s, $(rate "$seconds")"
sleep 1
echo "memory:     $(memory)"
cat "$data/log" >&2
