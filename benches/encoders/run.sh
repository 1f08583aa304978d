#!/usr/bin/env bash
# Measures the encoder program beside plain PyTorch on this machine; see benches/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh
home="$SIDEREUS_CACHE/encoders"
python_environment "$home/venv" benches/encoders/requirements.txt "installing PyTorch (5 GB on disk, for its package brings the libraries of GPUs)"
deploy/setup/models.sh
export PYTHONDONTWRITEBYTECODE=1
exec "$home/venv/bin/python" benches/encoders/bench.py "$@"
