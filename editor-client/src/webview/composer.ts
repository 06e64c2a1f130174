/** Where questions are written. */

import type { PanelStatus } from "../panelMessages";
import { button, h, icon } from "./dom";
import type { Send } from "./entryView";

const TALLEST = 180;

export class Composer {
  readonly element: HTMLFormElement;
  readonly #send: Send;
  readonly #input = h("textarea", {
    rows: "1",
    placeholder: "Ask about code, or describe code to write",
    "aria-label": "Your question",
  });
  readonly #selection = h("button", { type: "button", class: "chip", "aria-pressed": "true" });
  readonly #status = h("button", { type: "button", class: "status", title: "Show details" });
  #withSelection = true;

  constructor(send: Send, draft: string, onDraft: (text: string) => void) {
    this.#send = send;
    this.#input.value = draft;
    this.element = this.#build();
    this.#input.addEventListener("input", () => {
      this.#grow();
      onDraft(this.#input.value);
    });
    this.#input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.element.requestSubmit();
      }
    });
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
      onDraft("");
    });
    this.#selection.addEventListener("click", () => {
      this.#withSelection = !this.#withSelection;
      this.#selection.setAttribute("aria-pressed", String(this.#withSelection));
    });
    this.#status.addEventListener("click", () => {
      send({ type: "command", command: "aiAssistant.showStatus" });
    });
  }

  focus(): void {
    this.#input.focus();
  }

  showSelection(label: string | undefined): void {
    this.#selection.hidden = label === undefined;
    const name = label ?? "";
    this.#selection.replaceChildren(icon("code"), h("span", {}, name));
    this.#selection.title = `Ask about ${name}; click to leave it out`;
    this.#selection.setAttribute("aria-label", `Ask about the selection ${name}`);
  }

  showStatus({ summary, kind }: PanelStatus): void {
    this.#status.className = `status ${kind}`;
    this.#status.replaceChildren(h("span", { class: "dot", "aria-hidden": "true" }), h("span", {}, summary));
    this.#status.setAttribute("aria-label", `${summary}. Show details`);
  }

  #build(): HTMLFormElement {
    const send = h(
      "button",
      { type: "submit", class: "icon send", title: "Send (Enter)", "aria-label": "Send" },
      icon("send"),
    );
    const stop = button("Stop", { icon: "stop", kind: "icon", title: "Stop all answers (Escape)" }, () => {
      this.#send({ type: "stopAll" });
    });
    stop.classList.add("stop");
    return h(
      "form",
      { class: "composer", "aria-label": "Ask" },
      h("div", { class: "field" }, this.#selection, h("div", { class: "line" }, this.#input, stop, send)),
      this.#status,
    );
  }

  #submit(): void {
    const query = this.#input.value.trim();
    if (query) {
      this.#send({ type: "ask", query, withSelection: this.#withSelection && !this.#selection.hidden });
      this.#input.value = "";
      this.#grow();
    }
  }

  #grow(): void {
    this.#input.style.height = "auto";
    this.#input.style.height = `${Math.min(this.#input.scrollHeight, TALLEST)}px`;
  }
}
