/** Right-click, explain, ask on, stop in mid-answer, reload the window. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Editor } from "../support/editor.ts";
import type { Window } from "../support/window.ts";

const SAMPLE = `def mean(values):
    """Return the arithmetic mean."""
    return sum(values) / len(values)


print(mean([1, 2, 3]))
`;

let editor: Editor;
let window: Window;

before(async () => {
  editor = await Editor.launch({
    scenario: "explain",
    files: { "sample.py": SAMPLE },
  });
  window = await editor.open();
  await window.openFile("sample.py");
});

after(async () => {
  await editor.close();
});

test("an explanation streams into the panel and says where it comes from", async () => {
  await window.waitForStatus(/idle|ready/);
  await window.selectLines(1, 3);
  await window.contextMenu("return sum", "Explain Selection");
  const entry = window.panel.locator("article").first();
  await entry.getByText("sample.py:1–3").waitFor();
  await window.panel.locator("article.working .markdown").waitFor();
  await window.screenshot("streaming");
  await window.panel.locator("article.done").first().waitFor();
  await window.screenshot("answered");
  assert.match(
    await entry.locator(".badges").innerText(),
    /SmolLM2-135M-Instruct[\s\S]*tokens/,
  );
});

test("a follow-up goes on with the same conversation", async () => {
  await window.panel
    .getByLabel("Your question")
    .fill("What happens when the list is empty?");
  await window.panel.getByLabel("Your question").press("Enter");
  await window.panel.locator("article.done").nth(1).waitFor();
  await window.screenshot("follow-up");
});

test("stop ends an answer in the middle and the next one comes at once", async () => {
  await window.panel
    .getByLabel("Your question")
    .fill("Explain every line of this code in great detail.");
  await window.panel.getByLabel("Your question").press("Enter");
  const entry = window.panel.locator("article").nth(2);
  await entry.locator(".markdown").waitFor();
  await entry.getByLabel("Stop this answer").click();
  await entry.getByText("Stopped").waitFor();
  await window.screenshot("stopped");
});

test("the conversation survives a reload of the window", async () => {
  await window.page.reload();
  await window.command("AI Assistant: Ask…");
  await window.panel.locator("article").nth(2).waitFor();
  assert.equal(await window.panel.locator("article").count(), 3);
  await window.screenshot("reloaded");
});

test("no page has asked a foreign host for anything", () => {
  assert.deepEqual(editor.foreignHosts, []);
});
