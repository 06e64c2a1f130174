/** Workspaces that are not one trusted folder, and code that is in no file. */

import assert from "node:assert/strict";

import { taughtTasks } from "../support/home.ts";
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

scenario(
  {
    scenario: "virtual",
    files: {},
    roots: ["memory:/", "memory-read-only:/"],
    extensions: ["memory"],
  },
  {
    "code of a virtual file system is explained": async ({ window }) => {
      await window.showFile("sample.py");
      await window.waitForStatus(/idle|ready/);
      await window.selectLines(1, 3);
      await window.contextMenu("return sum", "Explain Selection");
      await window.answered(0);
      await window.entry(0).getByText("sample.py:1–3").waitFor();
      await window.screenshot("explained");
    },

    "it is taught by a key": async ({ window, editor }) => {
      await window.selectLines(1, 3);
      await window.keys("Shift+Alt+T");
      await window.panel.getByLabel("What it does").waitFor();
      await window.panel.getByRole("button", { name: "Teach", exact: true }).click();
      await window.notification("Taught:").waitFor();
      assert.match(await taughtTasks(editor.home), /arithmetic mean/);
    },

    "a comment becomes code in a file that was only looked at, by a key, and is saved": async ({ window }) => {
      await window.goTo(5, 4);
      await window.keys("Shift+Alt+G");
      await window.lens("Accept").waitFor();
      await window.screenshot("preview");
      await window.keys("Control+Enter");
      await window.tabClosed("proposed");
      await window.line("def fib").waitFor();
      await window.keys("Control+s");
      await window.page.locator(".tab.dirty", { hasText: "sample.py" }).waitFor({ state: "detached" });
      await window.command("File: Revert File");
      await window.line("def fib").waitFor();
      await window.screenshot("saved");
    },

    "a document that cannot be changed is explained, and says why no code can be inserted": async ({ window }) => {
      await window.showFile("fixed.py");
      await window.selectLines(1, 3);
      await window.keys("Shift+Alt+E");
      await window.entry(2).getByText("fixed.py:1–3").waitFor();
      await window.answered(2);
      await window.goTo(5, 4);
      await window.keys("Shift+Alt+G");
      await window.notification("Read-only: no code can be inserted here").waitFor();
      await window.settled();
      await window.screenshot("read-only");
    },

    "code that was never saved is explained, and gets the code that its comment asks for": async ({ window }) => {
      await window.newDocument("Python");
      await window.page.keyboard.type("total = 1 + 2\n# return the n-th Fibonacci number");
      await window.selectLines(1, 1);
      await window.keys("Shift+Alt+E");
      await window.entry(3).getByText("Untitled-1:1").waitFor();
      await window.answered(3);
      await window.goTo(2, 4);
      await window.keys("Shift+Alt+G");
      await window.lens("Accept").waitFor();
      await window.screenshot("untitled-preview");
      await window.keys("Control+Enter");
      await window.tabClosed("proposed");
      await window.line("def fib").waitFor();
      await window.screenshot("untitled");
    },
  },
);
