/** The conversation that the panel shows. Knows neither the editor nor the server. */

import type { Entry, Progress } from "./panelMessages";
import type { Answer, StoredConversation } from "./protocol";
import type { Failure } from "./errors";

/** The last two are passing: they tell how far an answer is, and nothing is lost with them. */
export type Change =
  | { kind: "all" }
  | { kind: "entry"; entry: Entry }
  | { kind: "progress"; entry: Entry }
  | { kind: "text"; id: string; text: string };

/** What outlives a reload of the window. */
export interface SavedConversation {
  conversationId?: string;
  title?: string;
  entries: Entry[];
}

/** More than a person scrolls through; the engine keeps every turn. */
const KEPT_ENTRIES = 100;

/** Holds the entries and tells one listener what has changed. */
export class Conversation {
  #saved: SavedConversation = { entries: [] };
  readonly #onChange: (change: Change) => void;

  constructor(onChange: (change: Change) => void) {
    this.#onChange = onChange;
  }

  get conversationId(): string | undefined {
    return this.#saved.conversationId;
  }

  get title(): string | undefined {
    return this.#saved.title;
  }

  get entries(): readonly Entry[] {
    return this.#saved.entries;
  }

  get working(): boolean {
    return this.entries.some((entry) => entry.state === "working");
  }

  entry(id: string): Entry | undefined {
    return this.entries.find((entry) => entry.id === id);
  }

  /** Adds a question that is being answered. */
  begin(entry: Omit<Entry, "state" | "text">): void {
    const entries = [...this.entries, { ...entry, state: "working" as const, text: "" }];
    this.#saved = { ...this.#saved, entries: entries.slice(-KEPT_ENTRIES) };
    this.#onChange({ kind: "all" });
  }

  append(id: string, text: string): void {
    const entry = this.entry(id);
    if (entry?.state === "working") {
      entry.text += text;
      delete entry.progress;
      this.#onChange({ kind: "text", id, text: entry.text });
    }
  }

  progress(id: string, progress: Progress): void {
    this.#change(
      id,
      (entry) => (entry.state === "working" && !entry.text ? { ...entry, progress } : entry),
      "progress",
    );
  }

  finish(id: string, answer: Answer): void {
    this.#change(id, (entry) => {
      const [text, prompt] = answer.status === "answered" ? [answer.text] : [answer.code ?? "", answer.prompt];
      return { ...withoutProgress(entry), ...(prompt && { question: prompt }), state: "done", text, answer };
    });
    if (answer.status === "answered") {
      this.#saved = { ...this.#saved, conversationId: answer.conversationId };
    }
  }

  fail(id: string, failure: Failure): void {
    this.#change(id, (entry) =>
      failure.cancelled
        ? { ...withoutProgress(entry), state: "stopped" }
        : {
            ...withoutProgress(entry),
            state: "failed",
            problem: { message: failure.message, remedies: failure.remedies },
          },
    );
  }

  decide(id: string, decision: NonNullable<Entry["decision"]>): void {
    this.#change(id, (entry) => ({ ...entry, decision }));
  }

  remove(id: string): void {
    this.#saved = { ...this.#saved, entries: this.entries.filter((entry) => entry.id !== id) };
    this.#onChange({ kind: "all" });
  }

  clear(): void {
    this.#saved = { entries: [] };
    this.#onChange({ kind: "all" });
  }

  /** Shows a conversation that the engine has kept. */
  show(stored: StoredConversation): void {
    const { conversationId, title } = stored;
    const entries = stored.turns.map((turn, index) => ({
      id: `${conversationId}/${index}`,
      question: turn.question,
      origination: { kind: "stored" as const },
      ...(turn.selection && { context: { uri: "", label: selectionLabel(turn.selection) } }),
      state: "done" as const,
      text: turn.answer,
    }));
    this.#saved = { conversationId, title, entries };
    this.#onChange({ kind: "all" });
  }

  save(): SavedConversation {
    return this.#saved;
  }

  /** Takes up what an earlier window saved; whatever was under way then has been stopped. */
  restore(saved: SavedConversation): void {
    const entries = saved.entries.map((entry) =>
      entry.state === "working" ? { ...withoutProgress(entry), state: "stopped" as const } : withoutPending(entry),
    );
    this.#saved = { ...saved, entries };
    this.#onChange({ kind: "all" });
  }

  #change(id: string, change: (entry: Entry) => Entry, kind: "entry" | "progress" = "entry"): void {
    const before = this.entry(id);
    if (!before) {
      return;
    }
    const after = change(before);
    if (after !== before) {
      this.#saved = { ...this.#saved, entries: this.entries.map((entry) => (entry.id === id ? after : entry)) };
      this.#onChange({ kind, entry: after });
    }
  }
}

function withoutProgress(entry: Entry): Entry {
  const rest = { ...entry };
  delete rest.progress;
  return rest;
}

function withoutPending(entry: Entry): Entry {
  return entry.decision === "pending" ? { ...entry, decision: "rejected" } : entry;
}

function selectionLabel(selection: { text: string; name?: string; startLine?: number }): string {
  const lines = selection.text.trimEnd().split("\n").length;
  const start = selection.startLine ?? 1;
  return `${selection.name ?? "selection"}:${start}${lines > 1 ? `–${start + lines - 1}` : ""}`;
}
