/** The commands that look after the assistant: status, models, doctor, logs, restart. */

import assert from "node:assert/strict";

import { servers } from "../support/processes.ts";
import { scenario } from "../support/scenario.ts";

scenario(
  { scenario: "care", files: { "sample.py": "x = 1\n" } },
  {
    "models are loaded before they are needed": async ({ window }) => {
      await window.openFile("sample.py");
      await window.waitForStatus("idle");
      await window.command("AI Assistant: Load Models");
      await window.waitForStatus("ready");
    },

    "the status lists what there is and what can be done, by a key": async ({ window }) => {
      await window.keys("Shift+Alt+M", "s");
      for (const text of [/^Explain.*ready/, /^Generate.*ready/, "Knowledge", "Memory", "Choose Model Set"]) {
        await window.page.locator(".quick-input-list .monaco-list-row", { hasText: text }).first().waitFor();
      }
      await window.screenshot("status");
      await window.page.keyboard.press("Escape");
    },

    "the doctor's report opens as a document": async ({ window }) => {
      await window.keys("Shift+Alt+M", "d");
      await window.line("All that is needed is there.").waitFor();
      await window.screenshot("doctor");
    },

    "the log says which interpreter runs": async ({ window }) => {
      await window.keys("Shift+Alt+M", "l");
      await window.page.locator(".panel .view-line", { hasText: "backend" }).first().waitFor();
      await window.screenshot("logs");
    },

    "restart starts another server": async ({ window, editor }) => {
      const [before] = servers(editor.home);
      assert.ok(before);
      await window.keys("Shift+Alt+M", "r");
      await window.waitUntil(async () => servers(editor.home).some((server) => server !== before));
      await window.waitForStatus(/idle|ready/);
    },

    "models are unloaded, and the tasks are shown, by keys": async ({ window }) => {
      await window.keys("Shift+Alt+M", "u");
      await window.notification("The models are unloaded").waitFor();
      await window.keys("Shift+Alt+M", "t");
      await window.tree("Built in").waitFor();
      await window.screenshot("tasks");
    },

    "the sets are offered with sizes and what they need": async ({ window }) => {
      await window.command("AI Assistant: Choose Model Set…");
      await window.page.locator(".quick-input-list .monaco-list-row", { hasText: "installed" }).waitFor();
      await window.screenshot("sets");
      await window.page.keyboard.press("Escape");
    },
  },
);
