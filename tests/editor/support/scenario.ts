/** A scenario: one editor, one window, and steps that a person takes one after the other. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Editor, type EditorOptions } from "./editor.ts";
import type { Window } from "./window.ts";

export interface Stage {
  editor: Editor;
  window: Window;
}

/**
 * Runs the steps in order. The first one that fails leaves a screenshot of every window and ends
 * the scenario, since the next ones build on it.
 */
export function scenario(options: EditorOptions, steps: Record<string, (stage: Stage) => Promise<void>>): void {
  test(options.scenario, async (context) => {
    const editor = await Editor.launch(options);
    try {
      const stage = { editor, window: await editor.open() };
      let failed: unknown;
      for (const [name, step] of Object.entries(steps)) {
        await context.test(name, async () => {
          await step(stage).catch((error: unknown) => {
            failed = error;
            throw error;
          });
        });
        if (failed) {
          await editor.screenshotAll("failed");
          context.diagnostic(editor.log);
          return;
        }
      }
      assert.deepEqual(editor.foreignHosts, [], "No page may ask a foreign host for anything.");
    } finally {
      await editor.close();
    }
  });
}
