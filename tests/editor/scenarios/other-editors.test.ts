/** Neovim and Emacs do the three abilities with the files of editors/. */

import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { cli, copyStarterHome } from "../support/home.ts";
import { CACHE, PYTHON, ROOT } from "../support/places.ts";

const run = promisify(execFile);

const SAMPLE = `def double(x):
    """Return twice x."""
    return 2 * x

# return the n-th Fibonacci number

# convert the moon phase to the colour of our corporate teapot
def teapot_colour(phase):
    """Convert the moon phase to the colour of our corporate teapot."""
    return "blue" if phase == "full" else "plain"
`;

const EDITORS: Record<string, { program: string; arguments: string[]; files: Record<string, string> }> = {
  neovim: {
    program: join(CACHE, "neovim", "bin", "nvim"),
    arguments: ["--headless", "-u", "NONE", "-i", "NONE", "-n", "-c", `luafile ${script("neovim/abilities.lua")}`],
    files: { PLUGIN: join(ROOT, "editors", "neovim") },
  },
  emacs: {
    program: "emacs",
    arguments: ["--batch", "-q", "--no-site-file", "-l", script("emacs/abilities.el")],
    files: { PACKAGE: join(ROOT, "editors", "emacs") },
  },
};

for (const [name, editor] of Object.entries(EDITORS)) {
  test(`${name} explains, turns a comment into code, and teaches`, async (context) => {
    const base = mkdtempSync(join(tmpdir(), `${name}-test-`));
    const [home, workspace] = [join(base, "home"), join(base, "work space")];
    mkdirSync(workspace);
    writeFileSync(join(workspace, "sample.py"), SAMPLE);
    copyStarterHome(home);
    const env = { ...process.env, ...editor.files, PYTHON, WORKSPACE: workspace, AI_CODEGEN_HOME: home };
    try {
      const { stdout } = await run(editor.program, editor.arguments, { env });
      context.diagnostic(stdout);
    } finally {
      await cli(home, "stop");
      rmSync(base, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
    }
  });
}

function script(name: string): string {
  return join(import.meta.dirname, "..", name);
}
