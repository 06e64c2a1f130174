/** The form that teaches a task. */

import type { Draft } from "../panelMessages";
import { formatSimilarity } from "../text";
import { button, h, icon } from "./dom";
import type { Send } from "./entryView";

/** Draws the form; `update` shows what changed without moving the cursor. */
export class DraftView {
  readonly element: HTMLFormElement;
  readonly #send: Send;
  readonly #description = field("textarea", "description", 2);
  readonly #implementation = field("textarea", "implementation", 10);
  readonly #tests = field("textarea", "tests", 3);
  readonly #similar = h("div", { "aria-live": "polite" });
  readonly #problem = h("div", { role: "alert" });
  readonly #save: HTMLButtonElement;

  constructor(draft: Draft, send: Send) {
    this.#send = send;
    this.#save = h("button", { type: "submit", class: "primary" }, icon("teach"), h("span", {}, "Teach"));
    this.element = this.#build();
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      send({ type: "draftSave", ...this.#fields() });
    });
    this.element.addEventListener("input", () => {
      send({ type: "draftChanged", ...this.#fields() });
    });
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        send({ type: "draftCancel" });
      } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        this.element.requestSubmit();
      }
    });
    this.update(draft);
  }

  update(draft: Draft): void {
    setValue(this.#description, draft.description);
    setValue(this.#implementation, draft.implementation);
    setValue(this.#tests, draft.tests);
    this.#save.disabled = draft.saving ?? false;
    this.#problem.replaceChildren(
      ...(draft.problem ? [h("p", { class: "callout error" }, icon("warning"), h("span", {}, draft.problem))] : []),
    );
    this.#similar.replaceChildren(...this.#drawSimilar(draft));
  }

  /** Moves the focus to what is still to be written. */
  focus(): void {
    const empty = this.#description.value.trim() ? this.#implementation : this.#description;
    (empty.value.trim() ? this.#description : empty).focus();
    this.element.scrollIntoView({ block: "nearest" });
  }

  #build(): HTMLFormElement {
    return h(
      "form",
      { class: "draft", "aria-label": "Teach a task" },
      h("h2", {}, icon("teach"), "Teach a task"),
      h("label", {}, h("span", {}, "What it does"), this.#description),
      this.#similar,
      h("label", {}, h("span", {}, "Code that does it"), this.#implementation),
      button(
        "Use the Selection",
        { icon: "insert", kind: "link", title: "Take the code selected in the editor" },
        () => {
          this.#send({ type: "draftFromSelection" });
        },
      ),
      h("label", {}, h("span", {}, "Tests (optional)"), this.#tests),
      this.#problem,
      h(
        "div",
        { class: "buttons decision" },
        this.#save,
        button("Cancel", {}, () => {
          this.#send({ type: "draftCancel" });
        }),
      ),
    );
  }

  #drawSimilar({ similar }: Draft): Node[] {
    if (!similar.length) {
      return [];
    }
    const items = similar.map((match) =>
      h(
        "li",
        {},
        button(match.description, { icon: "book", kind: "link", title: match.description }, () => {
          this.#send({ type: "openTask", taskId: match.taskId });
        }),
        h("div", { class: "facts" }, h("span", { class: "similarity" }, formatSimilarity(match.similarity))),
      ),
    );
    return [h("p", { class: "label" }, "Closest tasks already known"), h("ul", { class: "sources brief" }, ...items)];
  }

  #fields(): { description: string; implementation: string; tests: string } {
    return {
      description: this.#description.value,
      implementation: this.#implementation.value,
      tests: this.#tests.value,
    };
  }
}

function field(tag: "textarea", name: string, rows: number): HTMLTextAreaElement {
  const required = name !== "tests";
  return h(tag, {
    name,
    rows: String(rows),
    spellcheck: "false",
    required,
    class: name === "description" ? "" : "mono",
  });
}

function setValue(element: HTMLTextAreaElement, value: string): void {
  if (element.value !== value) {
    element.value = value;
  }
}
