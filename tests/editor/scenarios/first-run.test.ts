/** The first minutes: nothing is set up, then nothing is installed, then everything is there. */

import { scenario } from "../support/scenario.ts";

/** About a gigabyte is downloaded, unless pip has it. */
const INSTALLATION = 20 * 60_000;

const SAMPLE = "def double(x):\n    return 2 * x\n";

scenario(
  {
    scenario: "first-run-backend",
    files: { "sample.py": SAMPLE },
    starter: false,
    settings: {
      "aiCodegenAssistant.interpreter": "",
      "aiCodegenAssistant.installArguments": ["--no-index"],
    },
  },
  {
    "without a backend the extension offers to set itself up": async ({ window }) => {
      await window.openFile("sample.py");
      await window.notification("needs a Python environment of its own").waitFor();
      await window.waitForStatus("set up");
      await window.settled();
      await window.screenshot("offer");
    },

    "a walkthrough shows the way": async ({ window }) => {
      await window.command("AI Assistant: Get Started");
      await window.page.getByText("Get Started with AI CodeGen Assistant").first().waitFor();
      await window.settled();
      await window.screenshot("walkthrough");
    },

    "an error of the installation says what is wrong and what can be done": async ({ window }) => {
      await window.answer("needs a Python environment of its own", "Set Up");
      await window.notification("Setting up the assistant").waitFor();
      await window.screenshot("installing");
      await window.notification(/Setting up failed: ERROR: Cannot install/).waitFor();
      await window.settled();
      await window.screenshot("install-failed");
    },
  },
);

scenario(
  {
    scenario: "first-run-install",
    files: { "sample.py": SAMPLE },
    starter: false,
    settings: { "aiCodegenAssistant.interpreter": "" },
  },
  {
    "setting up finds Python, installs the backend and goes on to the models": async ({ window }) => {
      await window.openFile("sample.py");
      await window.answer("needs a Python environment of its own", "Set Up");
      await window.notification(/Setting up the assistant: (Collecting|Downloading)/).waitFor();
      await window.screenshot("installing");
      await window.notification(/ready for its models/).waitFor({ timeout: INSTALLATION });
      await window.waitForStatus("no models");
      await window.settled();
      await window.screenshot("installed");
    },
  },
);

scenario(
  {
    scenario: "first-run-models",
    files: { "sample.py": SAMPLE },
    starter: false,
  },
  {
    "with a backend it offers the sets with their sizes": async ({ window }) => {
      await window.openFile("sample.py");
      await window.notification(/ready for its models/).waitFor();
      await window.waitForStatus("no models");
      await window.settled();
      await window.screenshot("sets");
    },

    "the starter set is installed with progress, and an answer follows": async ({ window }) => {
      await window.answer(/ready for its models/, "Starter set");
      await window.notification(/Installing the starter set/).waitFor();
      await window.notification(/\d+ ?%/).waitFor();
      await window.screenshot("downloading");
      await window.notification("The starter set is ready").waitFor();
      await window.settled();
      await window.screenshot("ready");
      await window.selectLines(1, 2);
      await window.contextMenu("return 2", "Explain Selection");
      await window.answered(0);
      await window.screenshot("first-answer");
    },
  },
);
