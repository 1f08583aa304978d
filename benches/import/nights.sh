#!/usr/bin/env bash
# Does the database keep up with a night's load? A collection that is indexed gets as many rows again, night after night,
# in a server that goes on answering.
#   benches/import/nights.sh [NIGHTS [ROWS [DIMENSION]]]     after `make build`; default 3 1000000 256
# Prints for each night when the rows were durable and when they were indexed, what searches took meanwhile, and the folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
. benches/import/server.sh
nights=${1:-3} rows=${2:-1000000} dimension=${3:-256}
for night in $(seq 0 "$nights"); do made "$work/night-$rows-$dimension-$night" "$rows" "$dimension" --night "$night"; done
start

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
  until is_indexed; do search_ms >>"$data/times"; sleep 0.2; done
  indexed=$(since "$started")
  quiet=$(for _ in 1 2 3 4 5; do search_ms; done | sort -g | sed -n 3p)
  busy=$(sort -g "$data/times" | awk '{value[NR] = $1} END {if (NR) print value[int((NR + 1) / 2)]; else print "-"}')
  echo "night $night: durable $durable s, indexed $indexed s; a search meanwhile $busy ms, afterwards $quiet ms; $(du -sm "$data/db" | cut -f1) MiB, $(awk '/VmRSS/ {printf "%.0f MiB resident", $2 / 1024}' "/proc/$server/status")"
done
cat "$data/log" >&2
