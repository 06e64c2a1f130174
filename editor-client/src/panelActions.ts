/** Connects the panel with what it shows and what its buttons do. */

import * as vscode from "vscode";

import type { Answering } from "./answering";
import type { CommentToCode } from "./commentToCode";
import type { Change, Conversation } from "./conversation";
import { pythonEditor, revealContext, selectionContext } from "./editorContext";
import { showFailure } from "./messages";
import type { Panel } from "./panel";
import type { Entry, FromPanel, PanelState, PanelStatus } from "./panelMessages";
import type { StatusBar } from "./statusBar";
import type { TaskFiles } from "./taskFiles";
import type { Teaching } from "./teaching";
import { indentLines } from "./text";

/** What the panel's buttons may run. */
const ALLOWED_COMMANDS = new Set([
  "aiAssistant.setUp",
  "aiAssistant.chooseModelSet",
  "aiAssistant.explainSelection",
  "aiAssistant.generateFromComment",
  "aiAssistant.teachSelection",
  "aiAssistant.showLogs",
  "aiAssistant.runDoctor",
  "aiAssistant.restart",
  "aiAssistant.showStatus",
  "aiAssistant.unloadModels",
]);

export interface PanelParts {
  panel: Panel;
  conversation: Conversation;
  answering: Answering;
  commentToCode: CommentToCode;
  teaching: Teaching;
  taskFiles: TaskFiles;
  statusBar: StatusBar;
}

export class PanelActions implements vscode.Disposable {
  readonly #parts: PanelParts;
  readonly #subscriptions: vscode.Disposable[];

  constructor(parts: PanelParts) {
    const { panel, teaching, statusBar } = parts;
    this.#parts = parts;
    this.#subscriptions = [
      panel.onMessage((message) => {
        this.#handle(message).catch(showFailure);
      }),
      teaching.onDidChangeDraft((draft) => {
        panel.post({ type: "draft", ...(draft && { draft }) });
      }),
      statusBar.onDidChange(() => {
        panel.post({ type: "status", status: this.#status() });
      }),
      vscode.window.onDidChangeTextEditorSelection(() => {
        this.#postSelection();
      }),
      vscode.window.onDidChangeActiveTextEditor(() => {
        this.#postSelection();
      }),
    ];
  }

  /** Shows a change of the conversation. */
  show(change: Change): void {
    const { panel } = this.#parts;
    if (change.kind === "all") {
      panel.post({ type: "state", state: this.#state() });
    } else if (change.kind === "text") {
      panel.post({ type: "text", id: change.id, text: change.text });
    } else {
      panel.post({ type: "entry", entry: change.entry });
    }
  }

  dispose(): void {
    vscode.Disposable.from(...this.#subscriptions).dispose();
  }

  async #handle(message: FromPanel): Promise<void> {
    const { panel, answering, commentToCode, conversation, taskFiles, teaching } = this.#parts;
    switch (message.type) {
      case "ready":
        panel.post({ type: "state", state: this.#state() });
        return;
      case "ask":
        await answering.ask(message.query, message.withSelection ? selectionContext(pythonEditor()) : undefined);
        return;
      case "stop":
        answering.stop(message.id);
        return;
      case "stopAll":
        answering.stop();
        return;
      case "again":
        await this.#again(conversation.entry(message.id), message.intent, message.force);
        return;
      case "copy":
        await vscode.env.clipboard.writeText(message.text);
        return;
      case "insert":
        await insertAtCursor(message.text);
        return;
      case "openTask":
        await taskFiles.open(message.taskId);
        return;
      case "openContext":
        await this.#openContext(message.id);
        return;
      case "accept":
        await commentToCode.accept();
        return;
      case "reject":
        await commentToCode.reject();
        return;
      case "dismiss":
        conversation.decide(message.id, "dismissed");
        return;
      case "teach":
        teaching.fromEntry(message.id);
        panel.post({ type: "focus", on: "draft" });
        return;
      case "draftChanged":
        teaching.edit(message);
        return;
      case "draftFromSelection":
        await this.#draftFromSelection();
        return;
      case "draftCancel":
        teaching.cancel();
        return;
      case "draftSave":
        await teaching.save(message);
        return;
      case "command":
        if (ALLOWED_COMMANDS.has(message.command)) {
          await vscode.commands.executeCommand(message.command);
        }
    }
  }

  /** Puts an entry's question again, as another intent or whether or not the task is known. */
  async #again(entry: Entry | undefined, intent?: "explain" | "generate", force?: boolean): Promise<void> {
    if (!entry) {
      return;
    }
    const { origination } = entry;
    if (origination.kind === "comment" && intent === undefined) {
      this.#parts.conversation.decide(entry.id, "dismissed");
      await this.#parts.commentToCode.again(entry.id, force ?? false);
    } else if (origination.kind === "explain" && intent === undefined && entry.context) {
      await this.#parts.answering.explain(entry.context);
    } else {
      const overrides = { ...(intent && { intent }), ...(force && { force, intent: "generate" as const }) };
      await this.#parts.answering.ask(entry.question, entry.context, overrides);
    }
  }

  async #openContext(id: string): Promise<void> {
    const context = this.#parts.conversation.entry(id)?.context;
    if (context) {
      await revealContext(context);
    }
  }

  async #draftFromSelection(): Promise<void> {
    const editor = pythonEditor();
    if (editor && !editor.selection.isEmpty) {
      this.#parts.teaching.implementationFrom(editor);
    } else {
      await vscode.window.showInformationMessage("Select the code that solves the task, then choose this again.");
    }
  }

  #postSelection(): void {
    const selection = selectionContext(pythonEditor())?.label;
    this.#parts.panel.post({ type: "selection", ...(selection && { selection }) });
  }

  #state(): PanelState {
    const { conversation, teaching } = this.#parts;
    const selection = selectionContext(pythonEditor())?.label;
    return {
      ...(conversation.title && { title: conversation.title }),
      entries: [...conversation.entries],
      ...(teaching.draft && { draft: teaching.draft }),
      status: this.#status(),
      ...(selection && { selection }),
    };
  }

  #status(): PanelStatus {
    const { summary, kind, remedy } = this.#parts.statusBar.text;
    return { summary, kind, ...(remedy && { remedy }) };
  }
}

async function insertAtCursor(code: string): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (!editor) {
    await vscode.window.showInformationMessage("Open a file and put the cursor where the code should go.");
    return;
  }
  const { start } = editor.selection;
  const indent = /^\s*/.exec(editor.document.lineAt(start).text.slice(0, start.character))?.[0] ?? "";
  const [first = "", ...rest] = indentLines(code.trimEnd(), indent).split("\n");
  const text = [first.slice(indent.length), ...rest].join("\n");
  await editor.edit((builder) => {
    builder.replace(editor.selection, text);
  });
  await vscode.window.showTextDocument(editor.document, editor.viewColumn);
}
