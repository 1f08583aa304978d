#!/usr/bin/env bash
# Measures the encoder program beside plain PyTorch on this machine; see benches/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh
home="$SIDEREUS_CACHE/encoders"
requirements=benches/encoders/requirements.txt
stamp="$home/venv/.complete-$(sha256sum "$requirements" | cut -c1-16)"
if [ ! -e "$stamp" ]; then
  say "installing PyTorch (5 GB on disk, for its package brings the libraries of GPUs)"
  mkdir -p "$home"
  python3 -m venv --clear "$home/venv" || die "python3 -m venv failed; install Debian's python3-venv"
  "$home/venv/bin/pip" install --quiet --no-cache-dir --requirement "$requirements"
  touch "$stamp"
fi
deploy/setup/models.sh
export PYTHONDONTWRITEBYTECODE=1
exec "$home/venv/bin/python" benches/encoders/bench.py "$@"
