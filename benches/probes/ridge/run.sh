#!/usr/bin/env bash
# A ridge path of 20 strengths and 5 folds over N vectors of D components: inside the database, and by scikit-learn on the
# same numbers. The database reads its own storage; scikit-learn is given a NumPy array, its loading is told apart, and no
# export is counted.
#   benches/probes/ridge/run.sh [--rows N] [--width D] [--rival full|fold|none]
# --rival fold times one fold of five (20 fits), of which the path is five times: for sizes where all takes an hour.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. deploy/setup/paths.sh
rows=100000 width=256 rival=full
while [ $# -gt 0 ]; do
  case "$1" in
    --rows) rows="$2" ;; --width) width="$2" ;; --rival) rival="$2" ;;
    *) die "unknown word $1; usage: run.sh [--rows N] [--width D] [--rival full|fold|none]" ;;
  esac
  shift 2
done
programs="${SIDEREUS_PROGRAMS:-$CARGO_TARGET_DIR/release}"
work="$(mktemp -d "${TMPDIR:-/tmp}/sidereus-ridge.XXXXXX")"
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
python="$SIDEREUS_PYTHON/bin/python"
"$python" benches/probes/ridge/data.py "$rows" "$width" "$work"
# No index: a fit reads the stored vectors, and a build beside it would take its processors.
printf 'version = 1\n[index]\nauto_rows = 0\n' >"$work/sidereus.toml"
"$programs/sidereus" serve --config "$work/sidereus.toml" --data "$work/sky" --models "$SIDEREUS_MODELS" --grpc 127.0.0.1:0 --log warn >"$work/address" 2>"$work/log" &
server=$!
for _ in $(seq 300); do grep -q '^listening' "$work/address" && break; sleep 0.1; done
address="$(sed -n 's|^listening on grpc://\([^ ]*\).*|\1|p' "$work/address")"
[ -n "$address" ] || { cat "$work/log" >&2; die "the server did not start"; }
export SIDEREUS_SERVER="http://$address"
"$programs/sidereus" import sky "$work/table.parquet" --create --vectors "v=$work/vectors.npy" --metric l2
alphas="$("$python" -c 'import numpy; print(",".join(repr(float(a)) for a in numpy.logspace(-2, 6, 20)))')"
before="$(awk '/VmRSS/ {print $2}' "/proc/$server/status")"
# Starts the peak anew, where the kernel lets us; elsewhere the peak told is that of the import as well, which is larger.
echo 5 >"/proc/$server/clear_refs" 2>/dev/null || true
start=$(date +%s.%N)
"$programs/sidereus" probe fit sky --space v --target y --head ridge --alpha "$alphas" --folds 5 --split column:side \
  --resamples 200 --format json >"$work/probe.json"
end=$(date +%s.%N)
peak="$(awk '/VmHWM/ {print $2}' "/proc/$server/status")"
"$python" - "$work/probe.json" "$start" "$end" "$before" "$peak" <<'PY'
import json, sys
probe = json.load(open(sys.argv[1]))
took = float(sys.argv[3]) - float(sys.argv[2])
print(f"sidereus: {took:.1f} s, alpha {probe['alpha']:.4g}, test R2 {probe['metrics']['r2']:.6f}, "
      f"resident {int(sys.argv[4]) / 1024:.0f} MiB before, peak {int(sys.argv[5]) / 1024:.0f} MiB")
PY
# Its memory and processors are for the other side now. A server that is told to end has a status of its own, which is no failure.
kill "$server" && wait "$server" 2>/dev/null || true
server=
[ "$rival" = none ] || "$python" benches/probes/ridge/rival.py "$work" "$alphas" "$rival"
