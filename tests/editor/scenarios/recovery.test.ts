/** The engine is killed, the server is killed: both are explained and come back. Two windows share one engine. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";

import { cli } from "../support/home.ts";
import { scenario } from "../support/scenario.ts";

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
      await window.panel.locator("article.failed [role=alert]").waitFor();
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
  },
);

function engines(home: string): number[] {
  return processes((words) => words.includes("engine") && words.includes(home));
}

function servers(home: string): number[] {
  return processes((words, environment) => words.includes("serve") && environment.includes(`AI_CODEGEN_HOME=${home}`));
}

/** Process ids of the assistant's processes that `matches` accepts. */
function processes(matches: (words: string[], environment: string[]) => boolean): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      const words = read(`/proc/${name}/cmdline`);
      return words.includes("ai_codegen_assistant") && matches(words, read(`/proc/${name}/environ`));
    })
    .map(Number);
}

/** A process may end while its files are read. */
function read(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\0");
  } catch {
    return [];
  }
}
