#!/usr/bin/env bash
# Builds build/ai-codegen-assistant.vsix: the bundled extension, and the backend's wheel with its
# pinned dependencies, so that both halves always have the same version.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$(cd .. && pwd)
python=${PYTHON:-$root/.venv/bin/python}

rm -rf backend dist
mkdir -p backend build "$root/build"
"$python" -m build --wheel --no-isolation --outdir backend "$root" >build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }
"$python" scripts/store_wheel.py backend/*.whl
node scripts/compress_wheel.mjs backend/*.whl
cp "$root/constraints.txt" backend/
[ ! -f "$root/LICENSE" ] || cp "$root/LICENSE" LICENSE
npx tsc --noEmit
npx tsc --noEmit -p src/webview
node esbuild.mjs
npx vsce package --no-dependencies --skip-license --allow-missing-repository --out "$root/build/ai-codegen-assistant.vsix"
"$python" scripts/squeeze.py "$root/build/ai-codegen-assistant.vsix"
