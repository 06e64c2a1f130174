/** Workspaces that are not one trusted folder. */

import assert from "node:assert/strict";

import { servers } from "../support/processes.ts";
import { scenario } from "../support/scenario.ts";

const SAMPLE = `def double(x):
    """Return twice x."""
    return 2 * x
`;

/** Code that runs when anything of a workspace is imported by a Python started in it. */
const TRAP = 'open("trap-was-run", "w").close()\n';

scenario(
  {
    scenario: "untrusted",
    files: { "sample.py": SAMPLE, "core/__init__.py": TRAP, "server/__init__.py": TRAP, "sitecustomize.py": TRAP },
    asksForTrust: true,
  },
  {
    "in a workspace that is not trusted code is explained, and nothing of the workspace is run": async ({
      window,
      editor,
    }) => {
      await window.openFile("sample.py");
      await window.page.locator(".statusbar-item", { hasText: "Restricted Mode" }).waitFor();
      await window.selectLines(1, 3);
      await window.contextMenu("return 2", "Explain Selection");
      await window.answered(0);
      await window.screenshot("answered");
      assert.deepEqual(editor.filesNamed("trap-was-run"), []);
    },
  },
);

scenario(
  {
    scenario: "multi-root",
    files: { "one/first.py": SAMPLE, "two/second.py": SAMPLE.replaceAll("double", "twice") },
    roots: ["one", "two"],
  },
  {
    "folders side by side share one server, and each file is answered for": async ({ window, editor }) => {
      for (const [index, name] of ["first.py", "second.py"].entries()) {
        await window.openFile(name);
        await window.selectLines(1, 3);
        await window.contextMenu("return 2", "Explain Selection");
        await window.answered(index);
        await window.entry(index).getByText(`${name}:1–3`).waitFor();
      }
      assert.equal(servers(editor.home).length, 1);
      await window.screenshot("answered");
    },
  },
);
