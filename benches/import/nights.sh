#!/usr/bin/env bash
# Does the database keep up with a night's load? A collection that is indexed gets as many rows again, night after night,
# in a server that goes on answering.
#   benches/import/nights.sh [NIGHTS [ROWS [DIMENSION]]]     after `make build`; default 3 1000000 256
# Prints for each night when the rows were durable and when they were indexed, what searches took meanwhile, and the folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh
nights=${1:-3} rows=${2:-1000000} dimension=${3:-256}
bin="${SIDEREUS_BIN:-$CARGO_TARGET_DIR/release/sidereus}"
work="${SIDEREUS_BENCH:-$SIDEREUS_CACHE/bench}"
for night in $(seq 0 "$nights"); do
  input="$work/night-$rows-$dimension-$night"
  [ -e "$input/.complete" ] || { "$SIDEREUS_PYTHON/bin/python" benches/import/make.py "$input" "$rows" "$dimension" --night "$night"; touch "$input/.complete"; }
done
data=$(mktemp -d "$work/data.XXXXXX")
server=
stop() { [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true; rm -rf "$data"; }
trap stop EXIT
"$bin" serve --data "$data/db" --grpc 127.0.0.1:0 --log "${SIDEREUS_BENCH_LOG:-warn}" >"$data/out" 2>"$data/log" &
server=$!
for _ in $(seq 300); do grep -q '^listening' "$data/out" && break; sleep 0.1; done
export SIDEREUS_SERVER="http://$(sed -n 's|^listening on grpc://\([^ ]*\).*|\1|p' "$data/out")"

now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{printf "%.1f", $1 - $2}'; }
# What the server says that one search took.
search_ms() { "$bin" search bench --like 7 --cone 40,10,5 -k 10 --format json | grep -oE '"elapsed_ms": ?[0-9.e-]+' | grep -oE '[0-9.e-]+$' | awk '{printf "%.2f\n", $1}'; }

for night in $(seq 0 "$nights"); do
  input="$work/night-$rows-$dimension-$night" more=
  [ "$night" -gt 0 ] || more=--create
  cat "$input"/* >/dev/null
  sync
  started=$(now)
  "$bin" import bench "$input/cat.parquet" $more --vectors "emb=$input/vec.npy" --metric cosine >/dev/null
  durable=$(since "$started")
  : >"$data/times"
  until "$bin" index status bench --format json | grep -Eq '"tail_rows": ?0\b'; do search_ms >>"$data/times"; sleep 0.2; done
  indexed=$(since "$started")
  quiet=$(for _ in 1 2 3 4 5; do search_ms; done | sort -g | sed -n 3p)
  busy=$(sort -g "$data/times" | awk '{value[NR] = $1} END {if (NR) print value[int((NR + 1) / 2)]; else print "-"}')
  echo "night $night: durable $durable s, indexed $indexed s; a search meanwhile $busy ms, afterwards $quiet ms; $(du -sm "$data/db" | cut -f1) MiB, $(awk '/VmRSS/ {printf "%.0f MiB resident", $2 / 1024}' "/proc/$server/status")"
done
cat "$data/log" >&2
