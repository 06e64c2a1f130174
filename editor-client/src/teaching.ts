/** Teaching: from a selection, from an unknown task, from a correction. */

import * as vscode from "vscode";

import type { Assistant } from "./assistant";
import type { Conversation } from "./conversation";
import type { Corrections } from "./corrections";
import { describe } from "./description";
import { describeFailure } from "./errors";
import type { Judging } from "./judging";
import { showFailure } from "./messages";
import type { Draft } from "./panelMessages";
import type { TaskMatch, TaskSummary, Taught } from "./protocol";
import { dedent, shorten } from "./text";

/** How long a person pauses before the search for similar tasks follows what they write. */
const PAUSE = 300;
const SIMILAR = 3;

type DraftFields = Pick<Draft, "description" | "implementation" | "tests">;

export class Teaching implements vscode.Disposable {
  readonly #assistant: Assistant;
  readonly #conversation: Conversation;
  readonly #corrections: Corrections;
  readonly #judging: Judging;
  readonly #changed = new vscode.EventEmitter<Draft | undefined>();
  readonly #taught = new vscode.EventEmitter<void>();
  #draft: Draft | undefined;
  #entryId: string | undefined;
  #search: NodeJS.Timeout | undefined;

  readonly onDidChangeDraft = this.#changed.event;
  readonly onDidTeach = this.#taught.event;

  constructor(parts: { assistant: Assistant; conversation: Conversation; corrections: Corrections; judging: Judging }) {
    this.#assistant = parts.assistant;
    this.#conversation = parts.conversation;
    this.#corrections = parts.corrections;
    this.#judging = parts.judging;
  }

  get draft(): Draft | undefined {
    return this.#draft;
  }

  /** Prepares to teach the selection. */
  fromSelection(editor: vscode.TextEditor): void {
    const { document, selection } = editor;
    const range = new vscode.Range(selection.start.with({ character: 0 }), selection.end);
    const code = document.getText(range);
    const above = document
      .getText(new vscode.Range(0, 0, range.start.line, 0))
      .split(/\r?\n/)
      .slice(0, -1);
    this.#begin({ description: describe(code, above), implementation: dedent(code).trim(), tests: "" });
  }

  /** Prepares to teach what a question asked for and nobody knew. */
  fromEntry(entryId: string): void {
    const entry = this.#conversation.entry(entryId);
    if (entry) {
      this.#begin({ description: entry.question, implementation: "", tests: "" }, entryId);
    }
  }

  /** Takes the code of the draft that is open from the editor's selection. */
  implementationFrom(editor: vscode.TextEditor): void {
    if (this.#draft) {
      const code = dedent(editor.document.getText(editor.selection)).trim();
      this.#set({ ...this.#draft, implementation: code });
    }
  }

  /** Keeps what the person writes, and looks for tasks that say the same. */
  edit(fields: DraftFields): void {
    if (this.#draft) {
      // The panel already shows this text; showing it again would move the cursor.
      this.#draft = { ...this.#draft, ...fields };
      this.#findSimilar();
    }
  }

  cancel(): void {
    clearTimeout(this.#search);
    this.#entryId = undefined;
    this.#set(undefined);
  }

  /** Teaches the draft; problems are shown beside it. */
  async save(fields: DraftFields): Promise<void> {
    const draft: Draft = { ...fields, similar: this.#draft?.similar ?? [], saving: true };
    this.#set(draft);
    try {
      await this.#teach(fields);
    } catch (error) {
      this.#set({ ...draft, saving: false, problem: describeFailure(error).message });
      return;
    }
    if (this.#entryId) {
      this.#conversation.decide(this.#entryId, "taught");
    }
    this.cancel();
  }

  /** Teaches code that the person corrected after accepting it. */
  async corrected(entryId: string): Promise<void> {
    const corrected = this.#corrections.corrected(entryId);
    if (!corrected) {
      return;
    }
    try {
      await this.#teach({ ...corrected, tests: "" });
    } catch (error) {
      // The offer stays: the code may be corrected further and taught then.
      await showFailure(error);
      return;
    }
    this.#corrections.drop(entryId);
    await this.#judging.judge(entryId, "edited");
  }

  dispose(): void {
    clearTimeout(this.#search);
    vscode.Disposable.from(this.#changed, this.#taught).dispose();
  }

  #begin(fields: DraftFields, entryId?: string): void {
    this.#entryId = entryId;
    this.#set({ ...fields, similar: [] });
    this.#findSimilar(0);
  }

  async #teach({ description, implementation, tests }: DraftFields): Promise<void> {
    const params = { description, implementation, language: "python", ...(tests.trim() && { tests }) };
    const taught = await this.#assistant.request("teach", params);
    this.#taught.fire();
    void this.#confirm(taught, description);
  }

  async #confirm({ taskId, verified, note }: Taught, description: string): Promise<void> {
    const tested = note ?? (verified ? "Its tests have passed." : "");
    const message = `Taught: “${shorten(description, 60)}”. The next request can already use it. ${tested}`.trim();
    const chosen = await vscode.window.showInformationMessage(message, "Show", "Undo");
    if (chosen === "Show") {
      await vscode.commands.executeCommand("aiAssistant.tasks.open", taskId);
    } else if (chosen === "Undo") {
      await this.#assistant.request("forget", { taskId });
      this.#taught.fire();
    }
  }

  #findSimilar(pause = PAUSE): void {
    clearTimeout(this.#search);
    this.#search = setTimeout(() => {
      void this.#searchSimilar();
    }, pause);
  }

  async #searchSimilar(): Promise<void> {
    const query = this.#draft?.description.trim();
    const found = query ? await this.#similarTo(query) : [];
    // What was found is only worth showing beside the words that were looked for.
    if (this.#draft && this.#draft.description.trim() === (query ?? "")) {
      this.#set({ ...this.#draft, similar: found });
    }
  }

  /** A search is a help, not a condition: without one there is nothing to show. */
  async #similarTo(query: string): Promise<TaskMatch[]> {
    try {
      const { tasks } = await this.#assistant.request("tasks", { query, limit: SIMILAR });
      return tasks.map(asMatch);
    } catch {
      return [];
    }
  }

  #set(draft: Draft | undefined): void {
    this.#draft = draft;
    this.#changed.fire(draft);
  }
}

function asMatch({ taskId, description, origin, similarity }: TaskSummary): TaskMatch {
  return { taskId, description, origin, similarity: similarity ?? 0 };
}
