/** The way from a fresh installation to the first answer. */

import * as vscode from "vscode";

import type { Assistant } from "./assistant";
import type { Backend } from "./backend";
import { describeFailure } from "./errors";
import { offer, showFailure } from "./messages";
import { increments, requestWithProgress } from "./progress";
import type { ModelSetInfo } from "./protocol";
import type { LanguageServer } from "./server";
import { SECTION } from "./settings";
import { formatBytes } from "./text";

const WALKTHROUGH = "ai-codegen-assistant.ai-codegen-assistant#aiAssistant.welcome";

export class FirstRun {
  readonly #server: LanguageServer;
  readonly #backend: Backend;
  readonly #assistant: Assistant;
  readonly #log: vscode.LogOutputChannel;

  constructor(parts: { server: LanguageServer; backend: Backend; assistant: Assistant; log: vscode.LogOutputChannel }) {
    this.#server = parts.server;
    this.#backend = parts.backend;
    this.#assistant = parts.assistant;
    this.#log = parts.log;
  }

  /** Offers what is still missing, once the server has been given its chance to start. */
  async greet(): Promise<void> {
    if (this.#server.state === "notSetUp") {
      await this.#offerSetUp();
    } else if (this.#server.state === "running") {
      await this.#offerModels();
    }
  }

  /** Installs the backend, then offers the models. */
  async setUp(): Promise<void> {
    if (this.#server.state === "running") {
      await this.chooseModelSet();
      return;
    }
    try {
      await vscode.window.withProgress(
        { location: vscode.ProgressLocation.Notification, title: "Setting up the assistant", cancellable: true },
        async (progress, token) => {
          const report = increments(progress);
          await this.#backend.install((message) => {
            report({ message });
          }, token);
        },
      );
      await this.#server.restart();
    } catch (error) {
      await this.#explainSetUp(error);
      return;
    }
    await this.#offerModels();
  }

  /** Lets the person choose a set by size, downloads it and makes it the setting. */
  async chooseModelSet(): Promise<void> {
    try {
      const { sets } = await this.#assistant.request("models", { action: "list" });
      const current = vscode.workspace.getConfiguration(SECTION).get("modelSet", "");
      const chosen = await vscode.window.showQuickPick(
        sets.map((set) => setItem(set, current)),
        { title: "Choose a Model Set", matchOnDetail: true },
      );
      if (chosen) {
        await this.#useSet(chosen.set);
      }
    } catch (error) {
      await showFailure(error);
    }
  }

  async openWalkthrough(): Promise<void> {
    await vscode.commands.executeCommand("workbench.action.openWalkthrough", WALKTHROUGH, false);
  }

  /** The walkthrough is offered, not opened: a person who has just opened a file wants to see that. */
  async #offerSetUp(): Promise<void> {
    await offer(
      vscode.window.showInformationMessage,
      "AI CodeGen Assistant needs a Python environment of its own before it can answer. Nothing you write ever leaves this machine.",
      [
        { title: "Set Up", command: "aiAssistant.setUp" },
        { title: "Use My Interpreter…", command: "aiAssistant.openInterpreterSetting" },
        { title: "Show Me How", command: "aiAssistant.openWalkthrough" },
      ],
    );
  }

  async #offerModels(): Promise<void> {
    try {
      const { sets } = await this.#assistant.request("models", { action: "list" });
      const current = vscode.workspace.getConfiguration(SECTION).get("modelSet", "");
      const installed = sets.some((set) => set.name === current && set.installed);
      await vscode.commands.executeCommand("setContext", "aiAssistant.modelsInstalled", installed);
      if (!installed) {
        await this.#offerSets(sets);
      }
    } catch (error) {
      this.#log.warn(`The model sets could not be listed: ${describeFailure(error).message}`);
    }
  }

  async #offerSets(sets: ModelSetInfo[]): Promise<void> {
    const offered = sets.filter((set) => set.name === "starter" || set.name === "full");
    const items: SetOffer[] = offered.map((set) => ({
      title: `${sentence(title(set.name))} (${formatBytes(set.bytes)})`,
      set,
    }));
    const chosen = await vscode.window.showInformationMessage<SetOffer>(
      "The assistant is ready for its models. The starter set answers at once on any machine; the full set answers better and wants a graphics card.",
      ...items,
      { title: "Compare…" },
    );
    if (chosen?.set) {
      await this.#useSet(chosen.set).catch(showFailure);
    } else if (chosen) {
      await this.chooseModelSet();
    }
  }

  async #useSet(set: ModelSetInfo): Promise<void> {
    if (!set.installed) {
      const name = `${title(set.name)} (${formatBytes(set.bytes)})`;
      await requestWithProgress(this.#assistant, `Installing the ${name}`, "models", { action: "pull", set: set.name });
    }
    const section = vscode.workspace.getConfiguration(SECTION);
    await section.update("modelSet", set.name, vscode.ConfigurationTarget.Global);
    await vscode.commands.executeCommand("setContext", "aiAssistant.modelsInstalled", true);
    void vscode.window.showInformationMessage(
      `The ${title(set.name)} is ready. Select some Python and choose Explain Selection.`,
    );
  }

  async #explainSetUp(error: unknown): Promise<void> {
    if (error instanceof Error && error.name === "AbortError") {
      return;
    }
    this.#log.error(String(error));
    await offer(vscode.window.showErrorMessage, `Setting up failed: ${describeFailure(error).message}`, [
      { title: "Try Again", command: "aiAssistant.setUp" },
      { title: "Use My Interpreter…", command: "aiAssistant.openInterpreterSetting" },
      { title: "Show Logs", command: "aiAssistant.showLogs" },
    ]);
  }
}

/** A button of the message that offers sets; without a set it leads to the list of all. */
interface SetOffer extends vscode.MessageItem {
  set?: ModelSetInfo;
}

function sentence(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function title(set: string): string {
  return `${set} set`;
}

function setItem(set: ModelSetInfo, current: string): vscode.QuickPickItem & { set: ModelSetInfo } {
  const marks = [formatBytes(set.bytes), set.installed ? "installed" : "to be downloaded", set.hardware];
  return {
    label: `${set.name === current ? "$(check) " : ""}${set.name}`,
    description: marks.filter(Boolean).join(" · "),
    detail: set.summary,
    set,
  };
}
