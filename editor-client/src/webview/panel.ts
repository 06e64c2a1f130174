/** The panel's page: shows the state it is sent, and sends back what the person does. */

import type { Entry, FromPanel, PanelState, ToPanel } from "../panelMessages";
import { Composer } from "./composer";
import { h } from "./dom";
import { DraftView } from "./draftView";
import { drawEmpty } from "./emptyView";
import { domId, drawEntry, updateText } from "./entryView";

interface VsCode {
  postMessage: (message: FromPanel) => void;
  getState: () => { question?: string } | undefined;
  setState: (state: { question: string }) => void;
}

declare function acquireVsCodeApi(): VsCode;

/** How near the end one must be for new text to scroll along. */
const NEAR_END = 60;

class Page {
  readonly #vscode = acquireVsCodeApi();
  readonly #log = h("main", { role: "log", "aria-live": "off", "aria-label": "Conversation", tabindex: "0" });
  readonly #teaching = h("section", {});
  readonly #announcer = h("div", { class: "hidden", role: "status", "aria-live": "polite" });
  readonly #composer: Composer;
  readonly #send = (message: FromPanel): void => {
    this.#vscode.postMessage(message);
  };
  #state: PanelState = { entries: [], status: { summary: "", kind: "busy" } };
  #draft: DraftView | undefined;
  #pending = new Set<string>();
  readonly #articles = new Map<string, { content: string; element: HTMLElement }>();

  constructor(root: HTMLElement) {
    const question = this.#vscode.getState()?.question ?? "";
    this.#composer = new Composer(this.#send, question, (text) => {
      this.#vscode.setState({ question: text });
    });
    root.append(this.#log, this.#teaching, this.#composer.element, this.#announcer);
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#working) {
        this.#send({ type: "stopAll" });
      }
    });
    window.addEventListener("message", (event: MessageEvent<ToPanel>) => {
      this.#receive(event.data);
    });
    this.#send({ type: "ready" });
  }

  get #working(): boolean {
    return this.#state.entries.some((entry) => entry.state === "working");
  }

  #receive(message: ToPanel): void {
    switch (message.type) {
      case "state":
        this.#announceNew(message.state);
        this.#state = message.state;
        this.#drawAll();
        return;
      case "entry":
        this.#replaceEntry(message.entry);
        return;
      case "text":
        this.#showText(message.id, message.text);
        return;
      case "draft":
        this.#showDraft(message.draft);
        return;
      case "status":
        this.#showStatus(message.status);
        return;
      case "selection":
        this.#composer.showSelection(message.selection);
        return;
      case "focus":
        this.#focus(message.on);
        return;
      case "reveal":
        this.#reveal(message.id);
    }
  }

  #drawAll(): void {
    const { entries, draft, status, selection } = this.#state;
    for (const id of this.#articles.keys()) {
      if (entries.every((entry) => entry.id !== id)) {
        this.#articles.delete(id);
      }
    }
    this.#log.replaceChildren(
      ...(entries.length
        ? [h("h1", { class: "hidden" }, "Conversation"), ...entries.map((entry) => this.#drawn(entry))]
        : [drawEmpty(status.remedy, this.#send)]),
    );
    this.#showDraft(draft);
    this.#composer.showStatus(status);
    this.#composer.showSelection(selection);
    this.#showWorking();
    this.#scrollToEnd();
  }

  /** Draws an entry, or returns how it was drawn before: a long conversation would take long each time. */
  #drawn(entry: Entry): HTMLElement {
    const content = JSON.stringify(entry);
    const before = this.#articles.get(entry.id);
    const element = before?.content === content ? before.element : drawEntry(entry, this.#send);
    this.#articles.set(entry.id, { content, element });
    return element;
  }

  #replaceEntry(entry: Entry): void {
    const before = this.#state.entries.find(({ id }) => id === entry.id);
    const atEnd = this.#atEnd;
    this.#state = { ...this.#state, entries: this.#state.entries.map((old) => (old.id === entry.id ? entry : old)) };
    const old = document.getElementById(domId(entry.id));
    const focused = old?.contains(document.activeElement) ?? false;
    const drawn = this.#drawn(entry);
    old?.replaceWith(drawn);
    if (focused) {
      drawn.focus();
    }
    this.#showWorking();
    this.#announce(before, entry);
    if (atEnd) {
      this.#scrollToEnd();
    }
  }

  /** Draws at most once per frame, however fast text comes. */
  #showText(id: string, text: string): void {
    const entry = this.#state.entries.find((one) => one.id === id);
    if (!entry) {
      return;
    }
    entry.text = text;
    if (this.#pending.size === 0) {
      requestAnimationFrame(() => {
        this.#drawPending();
      });
    }
    this.#pending.add(id);
  }

  #drawPending(): void {
    const atEnd = this.#atEnd;
    for (const id of this.#pending) {
      const entry = this.#state.entries.find((one) => one.id === id);
      const article = document.getElementById(domId(id));
      if (entry?.state === "working" && article) {
        updateText(article, entry, this.#send);
      }
    }
    this.#pending = new Set();
    if (atEnd) {
      this.#scrollToEnd();
    }
  }

  #showDraft(draft: PanelState["draft"]): void {
    document.body.classList.toggle("teaching", draft !== undefined);
    if (!draft) {
      this.#draft = undefined;
      this.#teaching.replaceChildren();
    } else if (this.#draft) {
      this.#draft.update(draft);
    } else {
      this.#draft = new DraftView(draft, this.#send);
      this.#teaching.replaceChildren(this.#draft.element);
    }
  }

  #showStatus(status: PanelState["status"]): void {
    const redraw = status.remedy?.command !== this.#state.status.remedy?.command && this.#state.entries.length === 0;
    this.#state = { ...this.#state, status };
    if (redraw) {
      this.#drawAll();
    }
    this.#composer.showStatus(status);
  }

  #showWorking(): void {
    document.body.classList.toggle("working", this.#working);
  }

  #focus(on: "input" | "draft"): void {
    if (on === "draft") {
      this.#draft?.focus();
    } else {
      this.#composer.focus();
    }
  }

  #reveal(id: string): void {
    const article = document.getElementById(domId(id));
    article?.scrollIntoView({ block: "nearest" });
    article?.focus();
  }

  /** Tells a screen reader that a question was taken, which it cannot see. */
  #announceNew({ entries }: PanelState): void {
    const last = entries.at(-1);
    if (last?.state === "working" && this.#state.entries.every(({ id }) => id !== last.id)) {
      this.#announce(undefined, last);
    }
  }

  /** Tells a screen reader what has become of a question, once. */
  #announce(before: Entry | undefined, entry: Entry): void {
    if (before?.state === entry.state) {
      return;
    }
    const words = {
      working: `Thinking about: ${entry.question}`,
      done: entry.answer?.status === "unknown" ? "This task is not known yet." : writtenAnswer(entry.id),
      stopped: "Stopped",
      failed: entry.problem?.message ?? "Failed",
    };
    this.#announcer.textContent = words[entry.state];
  }

  get #atEnd(): boolean {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight < NEAR_END;
  }

  #scrollToEnd(): void {
    this.#log.scrollTop = this.#log.scrollHeight;
  }
}

/** An answer's words as they are shown, without the marks of Markdown. */
function writtenAnswer(id: string): string {
  return document.getElementById(domId(id))?.querySelector(".answer")?.textContent ?? "";
}

const root = document.getElementById("app");
if (root) {
  new Page(root);
}
