# Sourced by the measurements of imports: a server of their own on an empty folder beside the data ($SIDEREUS_BENCH, default in
# the cache folder), which ends with them. Gives `bin`, `work`, `data`, `server`, and the words below.
. deploy/setup/paths.sh
bin="${SIDEREUS_BIN:-$CARGO_TARGET_DIR/release/sidereus}"
work="${SIDEREUS_BENCH:-$SIDEREUS_CACHE/bench}"
data=
server=

# made FOLDER ROWS DIMENSION [make.py's options...]: writes the catalogue where it is not there yet.
made() {
  [ -e "$1/.complete" ] || { "$SIDEREUS_PYTHON/bin/python" benches/import/make.py "$@"; touch "$1/.complete"; }
}

stop() { [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true; [ -z "$data" ] || rm -rf "$data"; }
trap stop EXIT

start() {
  data=$(mktemp -d "$work/data.XXXXXX")
  "$bin" serve --data "$data/db" --grpc 127.0.0.1:0 --log "${SIDEREUS_BENCH_LOG:-warn}" >"$data/out" 2>"$data/log" &
  server=$!
  for _ in $(seq 300); do grep -q '^listening' "$data/out" && break; sleep 0.1; done
  export SIDEREUS_SERVER="http://$(sed -n 's|^listening on grpc://\([^ ]*\).*|\1|p' "$data/out")"
}

now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{printf "%.2f", $1 - $2}'; }
is_indexed() { "$bin" index status bench --format json | grep -Eq '"tail_rows": ?0\b'; }
