/** The status bar item, and the details behind it. */

import * as vscode from "vscode";

import type { Assistant } from "./assistant";
import { showFailure } from "./messages";
import type { Status } from "./protocol";
import type { LanguageServer } from "./server";
import { describeStatus, statusDetails, type StatusText } from "./statusText";

const COLOURS: Partial<Record<StatusText["kind"], string>> = {
  warning: "statusBarItem.warningBackground",
  error: "statusBarItem.errorBackground",
};

/** How long the item stays as it is, however fast numbers change. */
const REST = 500;

export class StatusBar implements vscode.Disposable {
  readonly #server: LanguageServer;
  readonly #assistant: Assistant;
  readonly #item: vscode.StatusBarItem;
  readonly #changed = new vscode.EventEmitter<StatusText>();
  readonly #subscriptions: vscode.Disposable[];
  #status: Status | undefined;
  #working = false;
  #resting: NodeJS.Timeout | undefined;
  #drawn = "";

  readonly onDidChange = this.#changed.event;

  constructor(server: LanguageServer, assistant: Assistant) {
    this.#server = server;
    this.#assistant = assistant;
    this.#item = vscode.window.createStatusBarItem("aiAssistant.status", vscode.StatusBarAlignment.Right, 100);
    this.#item.name = "AI CodeGen Assistant";
    this.#item.command = "aiAssistant.showStatus";
    this.#subscriptions = [
      server.onDidChangeState((state) => {
        // A running server may have announced its first status already.
        this.#status = state === "running" ? this.#status : undefined;
        this.#drawNow();
      }),
      server.onDidChangeStatus((status) => {
        this.#status = status;
        this.#draw();
      }),
    ];
    this.#draw();
    this.#item.show();
  }

  get text(): StatusText {
    return describeStatus(this.#server.state, this.#status, this.#working);
  }

  /** Notes whether this window waits for an answer. */
  setWorking(working: boolean): void {
    if (this.#working !== working) {
      this.#working = working;
      void vscode.commands.executeCommand("setContext", "aiAssistant.busy", working);
      this.#drawNow();
    }
  }

  /** Shows the details, each line one that can be read, and what can be done. */
  async showDetails(): Promise<void> {
    const { remedy } = this.text;
    if (remedy) {
      await vscode.commands.executeCommand(remedy.command);
      return;
    }
    try {
      this.#status = await this.#assistant.request("status", {});
      this.#draw();
    } catch (error) {
      await showFailure(error);
      return;
    }
    const details = statusDetails(this.#status).map(({ label, value }) => ({ label, detail: value, command: "" }));
    const chosen = await vscode.window.showQuickPick(
      [...details, { label: "", kind: vscode.QuickPickItemKind.Separator, command: "" }, ...ACTIONS],
      { title: `AI CodeGen Assistant: ${this.text.summary}`, placeHolder: "How things stand, and what you can do" },
    );
    if (chosen?.command) {
      await vscode.commands.executeCommand(chosen.command);
    }
  }

  dispose(): void {
    clearTimeout(this.#resting);
    vscode.Disposable.from(...this.#subscriptions, this.#item, this.#changed).dispose();
  }

  /** Draws numbers at once, and then what has changed meanwhile at most twice a second. */
  #draw(): void {
    if (this.#resting) {
      return;
    }
    this.#resting = setTimeout(() => {
      this.#resting = undefined;
      this.#drawNow();
    }, REST);
    this.#drawNow();
  }

  /** Each redraw costs the editor a layout; one that shows nothing new is left out. */
  #drawNow(): void {
    const { text, summary, kind } = this.text;
    const tooltip = this.#tooltip(summary);
    const drawn = [text, kind, tooltip.value].join("\n");
    if (drawn === this.#drawn) {
      return;
    }
    this.#drawn = drawn;
    const colour = COLOURS[kind];
    this.#item.text = text;
    this.#item.backgroundColor = colour ? new vscode.ThemeColor(colour) : undefined;
    this.#item.tooltip = tooltip;
    this.#item.accessibilityInformation = { label: `AI CodeGen Assistant: ${summary}`, role: "button" };
    this.#changed.fire(this.text);
  }

  #tooltip(summary: string): vscode.MarkdownString {
    const tooltip = new vscode.MarkdownString(undefined, true).appendText(summary);
    if (this.#status) {
      const rows = statusDetails(this.#status).map(({ label, value }) => `| **${label}** | ${escapeCell(value)} |`);
      tooltip.appendMarkdown(["\n\n|  |  |", "|---|---|", ...rows].join("\n"));
    }
    return tooltip;
  }
}

const ACTIONS = [
  { label: "$(cloud-download) Choose Model Set…", command: "aiAssistant.chooseModelSet" },
  { label: "$(arrow-up) Load Models", command: "aiAssistant.loadModels" },
  { label: "$(arrow-down) Unload Models", command: "aiAssistant.unloadModels" },
  { label: "$(refresh) Restart", command: "aiAssistant.restart" },
  { label: "$(output) Show Logs", command: "aiAssistant.showLogs" },
  { label: "$(checklist) Run Doctor", command: "aiAssistant.runDoctor" },
];

function escapeCell(text: string): string {
  return text.replace(/[\\`*_{}[\]()#+!|<>$~-]/g, "\\$&");
}
