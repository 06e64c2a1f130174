#!/bin/sh
# Measures a CUDA machine that has torch, transformers, accelerate and safetensors.
# To try the script itself anywhere: bench/gpu.sh --tiny --device cpu
set -eu
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1
"${PYTHON:-python3}" -m bench.gpu_versions
exec "${PYTHON:-python3}" -m bench.gpu "$@"
