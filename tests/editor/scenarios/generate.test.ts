/** Comment to code: accept, undo, reject, refuse after a change, correct and teach. */

import assert from "node:assert/strict";

import { taughtTasks } from "../support/home.ts";
import { scenario } from "../support/scenario.ts";
import type { Window } from "../support/window.ts";

const KNOWN = `class Tools:
    # return the n-th Fibonacci number

    name = "tools"
`;

const UNKNOWN = "# convert the moon phase to the colour of our corporate teapot\n";

async function generate(window: Window): Promise<void> {
  await window.goTo(2, 10);
  await window.command("AI Assistant: Generate Code from Comment");
  await window.lens("Accept").waitFor();
}

scenario(
  { scenario: "generate", files: { "known.py": KNOWN, "teapot.py": UNKNOWN } },
  {
    "code appears in a preview with what grounds it, and accepting it is one undo step": async ({ window }) => {
      await window.openFile("known.py");
      await window.waitForStatus(/idle|ready/);
      await window.goTo(2, 10);
      await window.codeAction("Generate code from this comment");
      await window.lens("Accept").waitFor();
      await window.lens(/grounded in/).waitFor();
      await window.screenshot("preview");
      await window.lens("Accept").click();
      await window.tabClosed("proposed");
      await window.line("def fib").waitFor();
      await window.screenshot("accepted");
      await window.saves("known.py", /number\n {4}def fib\(self, n: int\):\n {8}[^]*return self\.fib\(n - 1\)/);
      await window.page.keyboard.press("Control+z");
      await window.saves("known.py", KNOWN);
    },

    "rejecting leaves the file as it was": async ({ window }) => {
      await generate(window);
      await window.lens("Reject").click();
      await window.tabClosed("proposed");
      await window.screenshot("rejected");
      await window.saves("known.py", KNOWN);
    },

    "nothing is inserted once the text has changed": async ({ window }) => {
      await generate(window);
      await window.tab(/^known\.py$/).click();
      await window.goTo(1, 13);
      await window.page.keyboard.type("  # changed");
      await window.tab("proposed").click();
      await window.lens(/The text has changed/).waitFor();
      await window.page.keyboard.press("Control+Enter");
      await window.notification("Nothing was inserted: the text has changed").waitFor();
      await window.settled();
      await window.screenshot("refused");
      await window.lens("Close").click();
      await window.tabClosed("proposed");
      await window.saves("known.py", KNOWN.replace("Tools:", "Tools:  # changed"));
    },

    "a correction of accepted code is taught with one click": async ({ window, editor }) => {
      await generate(window);
      await window.lens("Accept").click();
      await window.tabClosed("proposed");
      await window.line("return self.fib").waitFor();
      await window.page.keyboard.type("  # corrected by hand");
      await window.lens("Teach the Corrected Version").waitFor();
      await window.screenshot("corrected");
      await window.lens("Teach the Corrected Version").click();
      await window.notification("Taught:").waitFor();
      assert.match(await taughtTasks(editor.home), /corrected by hand/);
      await window.settled();
      await window.screenshot("taught");
    },

    "an unknown task is generated anyway when the person wants it, token by token, and says so": async ({ window }) => {
      await window.openFile("teapot.py");
      await window.goTo(1, 5);
      await window.command("AI Assistant: Generate Code from Comment");
      await window.panel.getByRole("button", { name: "Generate Anyway" }).click();
      await window.tab("proposed").waitFor();
      await window.screenshot("writing");
      await window.lens("Accept").waitFor();
      await window.lens(/not grounded; closest/).waitFor();
      await window.screenshot("not-grounded");
      await window.lens("Reject").click();
      await window.tabClosed("proposed");
    },
  },
);
