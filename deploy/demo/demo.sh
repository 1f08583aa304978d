#!/usr/bin/env bash
# Shows Sidereus at work on two real catalogues: import, encode, index, and every form of search.
# `make demo` runs this after the build and the downloads; by hand: eval "$(make env)"; deploy/demo/demo.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh

bin="$CARGO_TARGET_DIR/release"
demo="$SIDEREUS_DATA/demo"
[ -x "$bin/sidereus" ] || die "$bin/sidereus is missing; run \`make build\`"
[ -e "$demo/gst_tests_small.fits" ] || die "$demo has no data; run \`make models\`"
export PATH="$bin:$PATH"

work=$(mktemp -d "${TMPDIR:-/tmp}/sidereus-demo.XXXXXX")
server=
stop_server() { [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true; }
trap stop_server EXIT

chapter() { printf '\n\033[1m%s\033[0m\n' "$1"; shift; printf '%s\n' "$@"; }
# Prints a command as it would be typed, a long one on several lines, then runs it.
run() {
  local word text= line='$'
  for word in "$@"; do
    case "$word" in *[\ \;\<\>\(\)\'\&\|]*) word="\"$word\"" ;; esac
    word=${word//"$demo"/DEMO}
    if [[ $word == -* && $((${#line} + ${#word})) -gt 70 ]]; then
      text+="$line \\"$'\n'
      line='   '
    fi
    line+=" $word"
  done
  printf '\n\033[36m%s\033[0m\n' "$text$line"
  "$@"
}

chapter "Sidereus: a vector database for the sky" \
  "DEMO below is $demo"

sidereus serve --data "$work/data" --grpc 127.0.0.1:0 --models "$SIDEREUS_MODELS" --log warn >"$work/server.out" 2>"$work/server.log" &
server=$!
for _ in $(seq 300); do
  grep -q '^listening' "$work/server.out" && break
  kill -0 "$server" 2>/dev/null || { server=; cat "$work/server.log" >&2; die "the server did not start"; }
  sleep 0.1
done
address=$(sed -n 's|^listening on grpc://\([^ ]*\).*|\1|p' "$work/server.out")
[ -n "$address" ] || die "the server does not say that it listens; see $work/server.log"
export SIDEREUS_SERVER="http://$address"
echo "a server runs at $SIDEREUS_SERVER and keeps its data in $work/data"

chapter "1. Import" \
  "10,000 SDSS galaxies from a FITS table (kcorrect). Elements of its flux vectors become columns that the encoder" \
  "knows by name; a rival space, plain colours made with numpy, comes along as a .npy file."
# u, g, r, i, z are elements 0 to 4 of each vector column.
elements() { echo "$1_u=$2[0],$1_g=$2[1],$1_r=$2[2],$1_i=$2[3],$1_z=$2[4]"; }
run sidereus import galaxies "$demo/gst_tests_small.fits" --create --map object_id=#row,ra=RA,dec=DEC,z=Z \
  --map "$(elements flux MODELFLUX)" --map "$(elements ivar MODELFLUX_IVAR)" --map "$(elements extinction EXTINCTION)" \
  --vectors "colours=$demo/colours.npy" --metric l2
printf '\n18 galaxies of the DECaLS survey with their pictures, from a Parquet file.\n'
run sidereus import decals "$demo/decals18.parquet" --create

chapter "2. Encode" \
  "The encoder service turns fluxes, and pictures, into vectors inside the database; it never sees a redshift."
run sidereus encoder models
run sidereus encode galaxies --model photometry-mm --space photometry
run sidereus encode decals --model efficientnet-lite0 --space image
run sidereus index build galaxies
run sidereus collection list

chapter "3. A cone search" "Everything within half a degree of a position, in the order of the ids."
run sidereus search galaxies --cone 174.4,57.23,0.5deg --columns z,flux_g,flux_r

chapter "4. More like this one, here, with these properties" \
  "The ten galaxies within 5 degrees of galaxy 4974, at 0.05 < z < 0.15, whose light is most like its own."
run sidereus get galaxies 4974 --columns z,flux_u,flux_g,flux_r,flux_i,flux_z
run sidereus search galaxies --like 4974 --space photometry --cone 174.40094,57.234515,5deg --where "z > 0.05 AND z < 0.15" --columns z,flux_g,flux_r

chapter "5. Positives and negatives" \
  "On all of the sky: like galaxies 4974 and 17, but unlike galaxy 4."
run sidereus search galaxies --like 4974 --like 17 --unlike 4 --space photometry -k 5 --columns z,flux_g,flux_r

picture=$(find "$demo/images" -name '*.png' | sort | sed -n 5p)
name=$(basename "$picture" .png)
chapter "6. By an image file" \
  "The picture of $name, encoded on the fly: the galaxy finds itself first, then its look-alikes." \
  "smooth, featured and spiral are the votes of Galaxy Zoo volunteers, which the search does not look at."
run sidereus search decals --example "$picture" --modality image -k 5 --columns smooth,featured,spiral,redshift

chapter "7. How it was found" \
  "--explain prints the plan that was chosen, with what was estimated and what came true."
run sidereus search galaxies --like 4974 --space photometry --where "z BETWEEN 0.1 AND 0.2" -k 3 --columns z --explain

chapter "8. Is the index right?" \
  "200 galaxies are searched for through the index and exactly, on everything and where 50, 10, 1 and 0.1 % pass." \
  "recall is the share of the ten true nearest that the index finds."
run sidereus evaluate recall galaxies --space photometry --plan filtered-ivf --where "true" --where "object_id % 2 = 0" \
  --where "object_id % 10 = 0" --where "object_id % 100 = 0" --where "object_id % 1000 = 0"

chapter "9. What the neighbours know" \
  "The redshift of every galaxy, predicted by the mean of its 20 nearest neighbours (itself left out) in the learned" \
  "space and in the space of plain colours. R2: higher is better; sigma_NMAD: lower is better." \
  "neighbours_apart and random_apart: the median redshift difference to a neighbour, and to a galaxy at random."
run sidereus evaluate knn galaxies --space photometry --space colours --target z -k 20 | tee "$work/photoz.txt"
awk '
  $1 == "photometry" { r2 = $4; nmad = $6 } $1 == "colours" { plain_r2 = $4; plain_nmad = $6 }
  END {
    verdict = r2 > plain_r2 ? "photometry-mm" : "plain colours"; core = nmad < plain_nmad ? "photometry-mm" : "plain colours"
    printf "By R2 the better one is %s, by sigma_NMAD %s.\n", verdict, core
  }' "$work/photoz.txt"

chapter "10. A probe, fitted where the vectors are" \
  "A ridge regression of the redshift, measured on a fifth of the galaxies. Kept under a name it is a column of queries," \
  "also of galaxies that arrive later."
run sidereus probe fit galaxies --space photometry --target z --head ridge --name photoz
run sidereus search galaxies --where "probe.photoz > 0.25" --order-by probe.photoz --descending --columns probe.photoz,z -k 5

chapter "11. From one space into another" \
  "A bridge maps the learned space into the space of colours. It tells how often a galaxy's own colours are found."
run sidereus bridge fit galaxies --from photometry --to colours --method ridge --name across
run sidereus search galaxies --like 4974 --from-space photometry --to-space colours -k 3 --columns z

chapter "What next" "The data stay in $work/data. To go on with them:" "" \
  "  eval \"\$(make env)\"; export PATH=\"\$CARGO_TARGET_DIR/release:\$PATH\"" \
  "  sidereus serve --data $work/data --models $SIDEREUS_MODELS" "" \
  "and in another terminal, after the same first line:" "" \
  "  sidereus collection show galaxies" \
  "  sidereus search galaxies --like 1234 --space photometry --where \"z < 0.1\" --format csv" \
  "  sidereus search galaxies --zone 350,-10,10,10 -k 100 --format json" \
  "  sidereus count galaxies --where \"flux_r > 500\"" \
  "  sidereus import mine my_catalogue.fits --create --map object_id=ID,ra=RA,dec=DEC" "" \
  "\`sidereus help search\` lists every word. To throw the demo away: rm -r $work"
