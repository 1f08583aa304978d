#!/usr/bin/env bash
# Makes the small Python environment that fetches and converts published data and weights.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh
requirements=deploy/setup/requirements.txt
stamp="$SIDEREUS_PYTHON/.complete-$(sha256sum "$requirements" | cut -c1-16)"
[ -e "$stamp" ] && exit 0
say "making the Python environment"
mkdir -p "$SIDEREUS_CACHE"
python3 -m venv --clear "$SIDEREUS_PYTHON" || die "python3 -m venv failed; install Debian's python3-venv"
"$SIDEREUS_PYTHON/bin/pip" install --quiet --no-cache-dir --requirement "$requirements"
touch "$stamp"
