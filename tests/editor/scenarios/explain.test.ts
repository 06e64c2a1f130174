/** Right-click, explain, ask on, stop in mid-answer, reload the window. */

import assert from "node:assert/strict";

import { scenario } from "../support/scenario.ts";

const SAMPLE = `def mean(values):
    """Return the arithmetic mean."""
    return sum(values) / len(values)


print(mean([1, 2, 3]))
`;

scenario(
  { scenario: "explain", files: { "sample.py": SAMPLE } },
  {
    "an explanation streams into the panel and says where it comes from": async ({ window }) => {
      await window.openFile("sample.py");
      await window.waitForStatus(/idle|ready/);
      await window.selectLines(1, 3);
      await window.contextMenu("return sum", "Explain Selection");
      const entry = window.entry(0);
      await entry.getByText("sample.py:1–3").waitFor();
      await window.panel.locator("article.working .markdown").waitFor();
      await window.screenshot("streaming");
      await window.answered(0);
      await window.screenshot("answered");
      assert.match(await entry.locator(".badges").innerText(), /SmolLM2-135M-Instruct[\s\S]*tokens/);
    },

    "a follow-up goes on with the same conversation": async ({ window }) => {
      await window.noteAnnouncements();
      await window.ask("What happens when the list is empty?");
      await window.answered(1);
      await window.screenshot("follow-up");
    },

    "a screen reader hears that it was asked, and the answer once and whole": async ({ window }) => {
      const [asked, answer, ...others] = await window.announcements();
      assert.equal(asked, "Thinking about: What happens when the list is empty?");
      assert.equal(answer, await window.entry(1).locator(".answer").textContent());
      assert.deepEqual(others, []);
    },

    "all of the panel has a role and a name, and is reached in order by Tab": async ({ window }) => {
      const nodes = await window.accessible();
      const named = (role: string): string[] => nodes.filter((node) => node.role === role).map(({ name }) => name);
      const levels = nodes.filter(({ role }) => role === "heading").map(({ level }) => level ?? 0);
      assert.deepEqual(named("log"), ["Conversation"]);
      assert.equal(named("heading").filter((name) => name === "Explain this code").length, 1);
      assert.deepEqual([levels.filter((level) => level === 1).length, Math.min(...levels)], [1, 1]);
      assert.equal(named("article").length, 2);
      assert.equal(named("textbox").filter((name) => name === "Your question").length, 1);
      assert.ok(named("listitem").some((name) => /tokens\/s\. .*first token/.test(name)));
      assert.ok(["button", "form", "textbox"].every((role) => named(role).every(Boolean)));

      const stops = await window.tabStops();
      const expected = ["sample.py:1–3", "Wrong route: generate instead", "Your question", "Send"];
      const places = expected.map((name) => stops.indexOf(name));
      assert.ok(!places.includes(-1), stops.join("\n"));
      assert.deepEqual(
        places,
        places.toSorted((left, right) => left - right),
      );
    },

    "stop ends an answer in the middle": async ({ window }) => {
      await window.ask("Explain every line of this code in great detail.");
      await window.entry(2).locator(".markdown").waitFor();
      await window.entry(2).getByRole("button", { name: "Stop" }).click();
      await window.entry(2).getByText("Stopped").waitFor();
      await window.screenshot("stopped");
    },

    "a question that took the wrong route is answered again on the other": async ({ window }) => {
      await window.entry(1).getByText("Wrong route: generate instead").click();
      await window.answered(3);
      await window
        .entry(3)
        .getByText(/Wrong route: explain instead/)
        .waitFor();
      await window.entry(3).getByText("generate as chosen").waitFor();
      await window.screenshot("wrong-route");
    },

    "code of an answer is copied, and inserted at the cursor with its indentation": async ({ window }) => {
      await window.ask("write a function that returns the n-th Fibonacci number");
      await window.answered(4);
      const code = window.entry(4).locator(".code");
      await code.hover();
      await code.getByRole("button", { name: "Copy" }).click();
      await window.waitUntil(async () =>
        (await window.page.evaluate(() => navigator.clipboard.readText())).includes("def fib"),
      );
      await window.goTo(3, 5);
      await window.page.keyboard.press("End");
      await window.page.keyboard.press("Enter");
      await code.hover();
      await code.getByRole("button", { name: "Insert at Cursor" }).click();
      await window.line("def fib").waitFor();
      await window.screenshot("inserted");
      await window.saves("sample.py", /len\(values\)\n {4}def fib\w*\(.*\n {8}/);
    },

    "the conversation survives a reload of the window": async ({ window }) => {
      await window.page.reload();
      await window.page.locator(".monaco-workbench").waitFor();
      await window.command("AI Assistant: Ask…");
      await window.entry(4).waitFor();
      assert.equal(await window.panel.locator("article").count(), 5);
      await window.screenshot("reloaded");
    },

    "the panel follows the theme": async ({ window }) => {
      await window.command("Preferences: Toggle between Light/Dark Themes");
      await window.panel.locator("body.vscode-dark").waitFor();
      await window.screenshot("dark");
    },

    "past conversations are listed, and a new one starts empty": async ({ window }) => {
      await window.command("AI Assistant: New Conversation");
      await window.panel.getByText("Your own assistant").waitFor();
      await window.screenshot("new-conversation");
      await window.command("AI Assistant: Show Conversations…");
      const stored = window.page.locator(".quick-input-list .monaco-list-row", { hasText: "questions" }).first();
      await stored.waitFor();
      await window.settled();
      await window.screenshot("conversations");
      await stored.click();
      await window.answered(1);
    },
  },
);
