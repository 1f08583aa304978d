#!/usr/bin/env bash
# Makes the small Python environment that fetches and converts published data and weights.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh
python_environment "$SIDEREUS_PYTHON" deploy/setup/requirements.txt "making the Python environment"
