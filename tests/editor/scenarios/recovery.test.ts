/** The engine is killed, the server is killed: both are explained and come back. Two windows share one engine. */

import assert from "node:assert/strict";

import { cli } from "../support/home.ts";
import { engines, servers } from "../support/processes.ts";
import { scenario } from "../support/scenario.ts";
import type { Window } from "../support/window.ts";

const SAMPLE = `def double(x):
    """Return twice x."""
    return 2 * x
`;

scenario(
  {
    scenario: "recovery",
    files: { "sample.py": SAMPLE },
    settings: { "aiCodegenAssistant.explainMaxTokens": 256 },
  },
  {
    "the status bar goes from starting over loading to the speed of the answer": async ({ window }) => {
      await window.openFile("sample.py");
      await window.noteStatuses();
      await window.selectLines(1, 3);
      await window.page.keyboard.press("Shift+Alt+E");
      await window.entry(0).locator(".markdown").waitFor();
      await window.answered(0);
      await window.waitForStatus("ready");
      const seen = (await window.statusesSeen()).join("\n");
      for (const state of [/loading/, /thinking|tokens\/s/, /ready/]) {
        assert.match(seen, state);
      }
    },

    "two windows use one engine": async ({ window, editor }) => {
      const second = await editor.open();
      await second.openFile("sample.py");
      await second.selectLines(1, 3);
      await second.page.keyboard.press("Shift+Alt+E");
      const working = second.panel.locator("article.working");
      await working.waitFor();
      await working.waitFor({ state: "detached" });
      await second.screenshot("second-window");
      assert.equal(engines(editor.home).length, 1);
      await window.page.bringToFront();
      await window.statusItem.click();
      await window.page
        .locator(".quick-input-list .monaco-list-row", {
          hasText: /2 clients|3 clients/,
        })
        .waitFor();
      await window.screenshot("clients");
      await window.page.keyboard.press("Escape");
      await second.page.close();
    },

    "an engine that is killed in mid-answer is explained, and the next question starts another": async ({
      window,
      editor,
    }) => {
      await window.ask("Explain every line of this code in great detail.");
      await window.entry(1).locator(".markdown").waitFor();
      const [engine] = engines(editor.home);
      assert.ok(engine);
      process.kill(engine, "SIGKILL");
      await window.panel.locator("article.failed .callout.error").waitFor();
      await window.screenshot("engine-killed");
      await window.ask("What does it return for 21?");
      await window.answered(2);
      assert.notEqual(engines(editor.home)[0], engine);
      await window.screenshot("engine-recovered");
    },

    "a server that is killed is started again": async ({ window, editor }) => {
      const [server] = servers(editor.home);
      assert.ok(server);
      process.kill(server, "SIGKILL");
      await window.notification("ended unexpectedly and is being started again").waitFor();
      await window.settled();
      await window.screenshot("server-killed");
      await window.ask("And for 4?");
      await window.answered(3);
    },

    "models are unloaded on demand": async ({ window, editor }) => {
      await window.command("AI Assistant: Unload Models");
      await window.notification("The models are unloaded").waitFor();
      await window.waitForStatus("idle");
      assert.doesNotMatch(await cli(editor.home, "status"), /\bready\b.*SmolLM2/);
    },

    "a server that keeps ending is left alone, until the person starts it again": async ({ window, editor }) => {
      for (let end = 0; end < 4; end += 1) {
        const server = await nextServer(window, editor.home);
        process.kill(server, "SIGKILL");
        await window.waitUntil(async () => !servers(editor.home).includes(server));
      }
      await window.notification("so it is not started again").waitFor();
      await window.waitForStatus("error");
      assert.deepEqual(servers(editor.home), []);
      await window.settled();
      await window.screenshot("given-up");
      await window.answer("so it is not started again", "Restart");
      await window.waitForStatus(/idle|ready/);
      await window.ask("And for 5?");
      await window.answered(4);
    },
  },
);

/** The language server, once it runs and the window says so. */
async function nextServer(window: Window, home: string): Promise<number> {
  await window.waitUntil(async () => servers(home).length === 1);
  await window.waitForStatus(/idle|ready/);
  const [server] = servers(home);
  assert.ok(server);
  return server;
}
