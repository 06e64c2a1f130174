/** Unknown, teach, generate; teach from a selection; the tasks view: search, edit, delete, undo. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { taughtTasks } from "../support/home.ts";
import { scenario } from "../support/scenario.ts";

const WISH = `# convert the moon phase to the colour of our corporate teapot

def teapot_colour(phase):
    """Convert the moon phase to the colour of our corporate teapot."""
    return "blue" if phase == "full" else "plain"
`;

const LIBRARY = `def roman(number):
    """Write a number from 1 to 3999 in Roman numerals."""
    signs = [(10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]
    text = ""
    for value, sign in signs:
        text += sign * (number // value)
        number %= value
    return text
`;

scenario(
  { scenario: "teach", files: { "wish.py": WISH, "library/numerals.py": LIBRARY } },
  {
    "an unknown task shows the closest ones and what can be done": async ({ window }) => {
      await window.openFile("wish.py");
      await window.waitForStatus(/idle|ready/);
      await window.goTo(1, 5);
      await window.command("AI Assistant: Generate Code from Comment");
      const entry = window.entry(0);
      await entry.getByText("I have not learnt this yet.").waitFor();
      assert.deepEqual(await entry.locator(".callout .buttons button").allInnerTexts(), [
        "Teach…",
        "Generate Anyway",
        "Dismiss",
      ]);
      assert.ok((await entry.locator(".sources li").count()) > 0);
      await window.screenshot("unknown");
    },

    "a closest match opens as a document on a click": async ({ window }) => {
      await window.entry(0).locator(".sources button").first().click();
      await window.line("# Task:").waitFor();
      await window.screenshot("source");
      await window.tab("wish.py").click();
    },

    "the form teaches it with the code of the selection": async ({ window }) => {
      await window.selectLines(3, 5);
      await window.entry(0).getByRole("button", { name: "Teach…" }).click();
      await window.panel.getByRole("button", { name: "Use the Selection" }).click();
      const code = window.panel.locator('textarea[name="implementation"]');
      await window.waitUntil(async () => (await code.inputValue()).startsWith("def teapot_colour"));
      await window.panel.getByText("Closest tasks already known").waitFor();
      await window.screenshot("form");
      await window.panel.getByRole("button", { name: "Teach", exact: true }).click();
      await window.notification("Taught:").waitFor();
      await window.entry(0).getByText("Taught").waitFor();
    },

    "the very next request uses it": async ({ window }) => {
      await window.goTo(1, 5);
      await window.command("AI Assistant: Generate Code from Comment");
      await window.lens("Accept").waitFor();
      await window.lens(/grounded in: convert the moon/).waitFor();
      await window.screenshot("generated");
      await window.page.keyboard.press("Escape");
      await window.tabClosed("proposed");
    },

    "a selection is taught with the description of its docstring, and similar tasks are shown": async ({ window }) => {
      await window.selectLines(3, 5);
      await window.codeAction("Teach this as a task");
      const description = window.panel.locator('textarea[name="description"]');
      await window.waitUntil(async () =>
        (await description.inputValue()).startsWith("Convert the moon phase to the colour"),
      );
      await window.panel.getByText("Closest tasks already known").waitFor();
      await window.screenshot("from-selection");
      await window.panel.getByRole("button", { name: "Cancel" }).click();
    },

    "the tasks view finds by meaning, and a saved document changes the task": async ({ window, editor }) => {
      await window.command("AI Assistant: Manage Taught Tasks");
      await window.tree("Taught by you").waitFor();
      await window.screenshot("tasks");
      await window.command("AI Assistant: Search Tasks…");
      await window.fillInput("Search Tasks by Meaning", "what colour has the teapot");
      await window.page.getByText("Closest to “what colour has the teapot”").waitFor();
      await window.tree(/convert the moon phase/i).click();
      await window.page.locator(".tab.active", { hasText: /taught-.*\.py/ }).waitFor();
      await window.line("# Task: convert the moon phase").waitFor();
      await window.screenshot("found");
      await window.editor.click({ position: { x: 300, y: 5 } });
      await window.page.keyboard.press("Control+End");
      await window.page.keyboard.type("# edited by hand");
      await window.page.keyboard.press("Control+s");
      await window.page.locator(".tab.dirty").waitFor({ state: "detached" });
      await window.waitUntil(async () => (await taughtTasks(editor.home)).includes("edited by hand"));
    },

    "what was taught is exported to a file, and a file and a folder are imported": async ({ window, editor }) => {
      const exported = join(editor.workspace, "exported.jsonl");
      await window.command("AI Assistant: Clear Search");
      await window.command("AI Assistant: Export Tasks…");
      await window.choosePath("Export Taught Tasks", exported);
      await window.notification(/Exported 1 taught task/).waitFor();
      assert.match(readFileSync(exported, "utf8"), /teapot_colour/);
      await window.command("AI Assistant: Import Tasks…");
      await window.pick("A file…");
      await window.choosePath("Import Tasks", exported);
      await window.notification(/Imported 0 tasks, 1 already known/).waitFor();
      await window.command("AI Assistant: Import Tasks…");
      await window.pick("A folder…");
      await window.choosePath("Import Tasks", `${join(editor.workspace, "library")}/`);
      await window.notification(/Imported 1 task, 0 already known/).waitFor();
      await window.tree("Imported").waitFor();
      await window.settled();
      await window.screenshot("imported");
    },

    "a deleted task comes back with undo": async ({ window }) => {
      const task = window.tree(/convert the moon phase/i);
      await window.treeAction(task, "Delete Task");
      await window.notification("Deleted:").waitFor();
      await window.settled();
      await window.screenshot("deleted");
      await window.answer("Deleted:", "Undo");
      await task.waitFor();
    },

    "the status shows models, queue and knowledge": async ({ window }) => {
      await window.statusItem.click();
      await window.page.locator(".quick-input-list .monaco-list-row", { hasText: "Knowledge" }).waitFor();
      await window.screenshot("status");
      await window.page.keyboard.press("Escape");
    },
  },
);
