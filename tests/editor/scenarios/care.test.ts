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

    "the status lists what there is and what can be done": async ({ window }) => {
      await window.command("AI Assistant: Show Status");
      for (const text of [/^Explain.*ready/, /^Generate.*ready/, "Knowledge", "Memory", "Choose Model Set"]) {
        await window.page.locator(".quick-input-list .monaco-list-row", { hasText: text }).first().waitFor();
      }
      await window.screenshot("status");
      await window.page.keyboard.press("Escape");
    },

    "the doctor's report opens as a document": async ({ window }) => {
      await window.command("AI Assistant: Run Doctor");
      await window.line("All that is needed is there.").waitFor();
      await window.screenshot("doctor");
    },

    "the log says which interpreter runs": async ({ window }) => {
      await window.command("AI Assistant: Show Logs");
      await window.page.locator(".panel .view-line", { hasText: "backend" }).first().waitFor();
      await window.screenshot("logs");
    },

    "restart starts another server": async ({ window, editor }) => {
      const [before] = servers(editor.home);
      assert.ok(before);
      await window.command("AI Assistant: Restart");
      await window.waitUntil(async () => servers(editor.home).some((server) => server !== before));
      await window.waitForStatus(/idle|ready/);
    },

    "the sets are offered with sizes and what they need": async ({ window }) => {
      await window.command("AI Assistant: Choose Model Set…");
      await window.page.locator(".quick-input-list .monaco-list-row", { hasText: "installed" }).waitFor();
      await window.screenshot("sets");
      await window.page.keyboard.press("Escape");
    },
  },
);
