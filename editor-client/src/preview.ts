/** Shows generated code in its place before it is inserted, to be accepted or rejected. */

import * as vscode from "vscode";

import { PREVIEW_SCHEME, wirePosition } from "./editorContext";
import { applyEdit, insertedLines, type LineSpan } from "./insertion";
import type { Generation, TextEdit } from "./protocol";
import { formatSimilarity, indentLines, proposedPath, shorten } from "./text";

/** Shorter than the eye notices, long enough to bundle tokens. */
const REDRAW = 60;

/** Code on its way into a document. */
export interface Proposal {
  id: string;
  document: vscode.TextDocument;
  /** The document's text when the request was made; any other text refuses the code. */
  text: string;
  /** End of the comment. */
  anchor: vscode.Position;
  indent: string;
  column: vscode.ViewColumn | undefined;
}

interface Shown extends Proposal {
  uri: vscode.Uri;
  reply: string;
  edit?: TextEdit;
  generation?: Generation;
}

/** The one preview of this window: a read-only copy of the document with the code in it. */
export class Preview implements vscode.TextDocumentContentProvider, vscode.CodeLensProvider, vscode.Disposable {
  #shown: Shown | undefined;
  /** The proposal that was closed last: what still arrives of it is not wanted. */
  #rejected: string | undefined;
  #redraw: NodeJS.Timeout | undefined;
  readonly #contentChanged = new vscode.EventEmitter<vscode.Uri>();
  readonly #lensesChanged = new vscode.EventEmitter<void>();
  readonly #added = vscode.window.createTextEditorDecorationType({
    isWholeLine: true,
    backgroundColor: new vscode.ThemeColor("diffEditor.insertedLineBackground"),
    overviewRulerColor: new vscode.ThemeColor("editorOverviewRuler.addedForeground"),
    overviewRulerLane: vscode.OverviewRulerLane.Full,
  });
  readonly #cursor = vscode.window.createTextEditorDecorationType({
    // A lens would only appear once the text has come to rest.
    after: { contentText: "▍ writing; Escape stops", color: new vscode.ThemeColor("editorCodeLens.foreground") },
  });
  readonly #subscriptions: vscode.Disposable[];

  readonly onDidChange = this.#contentChanged.event;
  readonly onDidChangeCodeLenses = this.#lensesChanged.event;

  constructor() {
    this.#subscriptions = [
      vscode.workspace.registerTextDocumentContentProvider(PREVIEW_SCHEME, this),
      vscode.languages.registerCodeLensProvider({ scheme: PREVIEW_SCHEME }, this),
      vscode.workspace.onDidChangeTextDocument(({ document }) => {
        this.#onDocumentChanged(document);
      }),
      vscode.window.onDidChangeVisibleTextEditors(() => {
        this.#decorate();
      }),
    ];
  }

  /** What waits for a decision, with the edit once the code is complete. */
  get current(): (Proposal & { edit?: TextEdit; generation?: Generation; outdated: boolean }) | undefined {
    return this.#shown && { ...this.#shown, outdated: isOutdated(this.#shown) };
  }

  /** Adds to the code that is being written; the first text opens the preview. */
  append(proposal: Proposal, text: string): void {
    if (this.#rejected === proposal.id) {
      return;
    }
    if (this.#shown?.id !== proposal.id) {
      void this.#open(proposal);
    }
    if (this.#shown) {
      this.#shown.reply += text;
      this.#redraw ??= setTimeout(() => {
        this.#draw();
      }, REDRAW);
    }
  }

  /** Shows the complete code to be decided on; false if it has been rejected already. */
  async complete(proposal: Proposal, generation: Generation, edit: TextEdit): Promise<boolean> {
    if (this.#rejected === proposal.id) {
      return false;
    }
    if (this.#shown?.id !== proposal.id) {
      await this.#open(proposal);
    }
    Object.assign(this.#shown ?? {}, { generation, edit });
    this.#draw();
    await this.#setReady(true);
    return true;
  }

  /** Closes the preview of a proposal and returns to its document. */
  async close(id: string): Promise<void> {
    this.#rejected = id;
    const shown = this.#shown;
    if (shown?.id !== id) {
      return;
    }
    this.#shown = undefined;
    clearTimeout(this.#redraw);
    this.#redraw = undefined;
    await this.#setReady(false);
    if (await closeTabs(shown.id)) {
      await showAgain(shown);
    }
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    const shown = this.#shown;
    return shown?.uri.query === uri.query ? applyEdit(shown.text, visibleEdit(shown)) : "";
  }

  provideCodeLenses(document: vscode.TextDocument): vscode.CodeLens[] {
    const shown = this.#shown;
    if (shown?.uri.query !== document.uri.query) {
      return [];
    }
    const line = shown.anchor.line + (shown.anchor.line + 1 < document.lineCount ? 1 : 0);
    const range = new vscode.Range(line, 0, line, 0);
    return lenses(shown).map((command) => new vscode.CodeLens(range, command));
  }

  dispose(): void {
    clearTimeout(this.#redraw);
    vscode.Disposable.from(
      ...this.#subscriptions,
      this.#added,
      this.#cursor,
      this.#contentChanged,
      this.#lensesChanged,
    ).dispose();
  }

  /** Opens in the place of the document; an earlier preview closes. */
  async #open(proposal: Proposal): Promise<void> {
    const earlier = this.#shown?.id;
    const uri = previewUri(proposal);
    const { anchor, column } = proposal;
    this.#shown = { ...proposal, uri, reply: "" };
    if (earlier) {
      await closeTabs(earlier);
    }
    await this.#setReady(false);
    const document = await vscode.workspace.openTextDocument(uri);
    const editor = await vscode.window.showTextDocument(document, {
      // In a tab of its own: one that is only looked at would take the place of the document, and close it.
      preview: false,
      selection: new vscode.Range(anchor, anchor),
      ...(column !== undefined && { viewColumn: column }),
    });
    const lines = new vscode.Range(anchor, anchor.translate(8));
    editor.revealRange(lines, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
    this.#decorate();
  }

  #draw(): void {
    clearTimeout(this.#redraw);
    this.#redraw = undefined;
    if (this.#shown) {
      this.#contentChanged.fire(this.#shown.uri);
    }
  }

  #onDocumentChanged(document: vscode.TextDocument): void {
    if (document.uri.query === this.#shown?.uri.query) {
      this.#decorate();
    } else if (document === this.#shown?.document) {
      this.#lensesChanged.fire();
    }
  }

  #decorate(): void {
    const shown = this.#shown;
    const editor = vscode.window.visibleTextEditors.find(({ document }) => document.uri.query === shown?.uri.query);
    if (!shown || !editor) {
      return;
    }
    const { start, end } = visibleLines(shown);
    const lines = end > start ? [new vscode.Range(start, 0, end - 1, 0)] : [];
    const last = editor.document.lineAt(Math.min(Math.max(end - 1, shown.anchor.line), editor.document.lineCount - 1));
    editor.setDecorations(this.#added, lines);
    editor.setDecorations(this.#cursor, shown.generation ? [] : [new vscode.Range(last.range.end, last.range.end)]);
  }

  async #setReady(ready: boolean): Promise<void> {
    await vscode.commands.executeCommand("setContext", "aiAssistant.previewReady", ready);
    this.#lensesChanged.fire();
  }
}

/** Whether the document no longer is what the request was made for. */
function isOutdated(shown: Proposal): boolean {
  return shown.document.isClosed || shown.document.getText() !== shown.text;
}

function visibleEdit(shown: Shown): TextEdit {
  if (shown.edit) {
    return shown.edit;
  }
  const place = wirePosition(shown.anchor);
  const code = indentLines(shown.reply, shown.indent);
  return { range: { start: place, end: place }, newText: code.trim() ? `\n${code}` : "" };
}

function visibleLines(shown: Shown): LineSpan {
  return insertedLines(visibleEdit(shown));
}

function lenses(shown: Shown): vscode.Command[] {
  if (!shown.generation) {
    return [];
  }
  if (isOutdated(shown)) {
    return [
      { title: "$(warning)\u00a0The text has changed since, so this cannot be inserted", command: "" },
      { title: "$(copy)\u00a0Copy", command: "aiAssistant.copyGenerated" },
      { title: "$(refresh)\u00a0Generate Again", command: "aiAssistant.generateAgain" },
      { title: "$(close)\u00a0Close", command: "aiAssistant.rejectGenerated" },
    ];
  }
  return [
    { title: "$(check)\u00a0Accept", command: "aiAssistant.acceptGenerated", tooltip: "Insert this code (Ctrl+Enter)" },
    { title: "$(close)\u00a0Reject", command: "aiAssistant.rejectGenerated", tooltip: "Insert nothing (Escape)" },
    ...badges(shown.generation),
  ];
}

/** Says what the code rests on, and what is wrong with it. */
function badges(generation: Generation): vscode.Command[] {
  const [best] = generation.sources;
  const words = { grounded: "grounded in", weak: "weak match", unknown: "not grounded; closest" }[generation.band];
  const source = best && {
    title: `$(book)\u00a0${words}: ${shorten(best.description, 50)} (${formatSimilarity(best.similarity)})`,
    command: "aiAssistant.tasks.open",
    arguments: [best.taskId],
    tooltip: best.description,
  };
  const syntax = generation.checks?.syntax === false && {
    title: `$(warning)\u00a0${generation.checks.problem ?? "This is no valid Python"}`,
    command: "",
  };
  return [...(source ? [source] : []), ...(syntax ? [syntax] : [])];
}

function previewUri({ id, document }: Proposal): vscode.Uri {
  return vscode.Uri.from({ scheme: PREVIEW_SCHEME, path: proposedPath(document.uri.path), query: id });
}

/** Closes the tabs of a preview and says whether one of them was in front. */
async function closeTabs(id: string): Promise<boolean> {
  const all = vscode.window.tabGroups.all.flatMap((group) => group.tabs);
  const tabs = all.filter(({ input }) => {
    return input instanceof vscode.TabInputText && input.uri.scheme === PREVIEW_SCHEME && input.uri.query === id;
  });
  const active = tabs.some((tab) => tab.isActive);
  await vscode.window.tabGroups.close(tabs);
  return active;
}

async function showAgain(proposal: Proposal): Promise<void> {
  if (!proposal.document.isClosed) {
    await vscode.window.showTextDocument(proposal.document, {
      selection: new vscode.Range(proposal.anchor, proposal.anchor),
      ...(proposal.column !== undefined && { viewColumn: proposal.column }),
    });
  }
}
