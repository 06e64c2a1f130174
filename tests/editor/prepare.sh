#!/usr/bin/env bash
# Prepares what the tests and the bench of the editors share: the editors, and a data folder with
# the starter set and its index, which each scenario copies.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
home="$root/.cache/editor/starter-home"
assistant=("${PYTHON:-$root/.venv/bin/python}" -m ai_codegen_assistant --home "$home")

"$here/install.sh"

# Installed once; indexing the built-in tasks takes longer than most scenarios.
if [ ! -f "$home/complete" ]; then
  (
    cd "$root"
    "${assistant[@]}" models pull starter
    "${assistant[@]}" tasks list --limit 1 >/dev/null
    "${assistant[@]}" stop
  )
  touch "$home/complete"
fi
"$root/editor-client/node_modules/.bin/tsc" -p "$here"
