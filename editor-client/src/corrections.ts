/** Notices when a person corrects code that they accepted, and offers to teach it. */

import * as vscode from "vscode";

import { follow, type LineSpan } from "./insertion";
import { DOCUMENTS } from "./editorContext";
import { dedent } from "./text";

/** Accepted code in a document. */
export interface Accepted {
  entryId: string;
  document: vscode.TextDocument;
  lines: LineSpan;
  /** What the code was asked for with. */
  prompt: string;
}

interface Watched extends Accepted {
  original: string;
}

/** Follows accepted code through later edits; lenses above it appear once it differs. */
export class Corrections implements vscode.CodeLensProvider, vscode.Disposable {
  #watched: Watched[] = [];
  readonly #lensesChanged = new vscode.EventEmitter<void>();
  readonly #subscriptions: vscode.Disposable[];

  readonly onDidChangeCodeLenses = this.#lensesChanged.event;

  constructor() {
    this.#subscriptions = [
      vscode.languages.registerCodeLensProvider(DOCUMENTS, this),
      vscode.workspace.onDidChangeTextDocument((event) => {
        this.#onChange(event);
      }),
      vscode.workspace.onDidCloseTextDocument((document) => {
        this.#watched = this.#watched.filter((accepted) => accepted.document !== document);
      }),
    ];
  }

  watch(accepted: Accepted): void {
    this.#watched.push({ ...accepted, original: read(accepted) });
  }

  /** Returns the corrected code of an entry and what it answers. */
  corrected(entryId: string): { description: string; implementation: string } | undefined {
    const corrected = this.#watched.find((accepted) => accepted.entryId === entryId);
    return corrected && { description: corrected.prompt, implementation: dedent(read(corrected)).trim() };
  }

  /** Stops watching the code of an entry. */
  drop(entryId: string): void {
    this.#watched = this.#watched.filter((accepted) => accepted.entryId !== entryId);
    this.#lensesChanged.fire();
  }

  provideCodeLenses(document: vscode.TextDocument): vscode.CodeLens[] {
    return this.#watched
      .filter((accepted) => accepted.document === document && read(accepted).trim() !== accepted.original.trim())
      .map(({ entryId, lines }) => {
        const range = new vscode.Range(lines.start, 0, lines.start, 0);
        return new vscode.CodeLens(range, {
          title: "$(mortar-board)\u00a0Teach the Corrected Version",
          tooltip: "The next request can use your correction",
          command: "aiAssistant.teachCorrected",
          arguments: [entryId],
        });
      });
  }

  dispose(): void {
    vscode.Disposable.from(...this.#subscriptions, this.#lensesChanged).dispose();
  }

  #onChange({ document, contentChanges }: vscode.TextDocumentChangeEvent): void {
    if (!this.#watched.some((accepted) => accepted.document === document)) {
      return;
    }
    this.#watched = this.#watched.flatMap((accepted) => {
      const lines =
        accepted.document === document ? contentChanges.reduce(followChange, accepted.lines) : accepted.lines;
      return lines ? [{ ...accepted, lines }] : [];
    });
    this.#lensesChanged.fire();
  }
}

function followChange(
  lines: LineSpan | undefined,
  change: vscode.TextDocumentContentChangeEvent,
): LineSpan | undefined {
  return (
    lines &&
    follow(lines, {
      startLine: change.range.start.line,
      endLine: change.range.end.line,
      newLines: change.text.split("\n").length - 1,
    })
  );
}

function read({ document, lines }: Accepted): string {
  return document.getText(document.validateRange(new vscode.Range(lines.start, 0, lines.end, 0)));
}
