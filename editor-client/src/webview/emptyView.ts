/** What the panel shows before the first question. */

import type { Remedy } from "../errors";
import { button, h, icon, type IconName } from "./dom";
import type { Send } from "./entryView";

const HINTS: { icon: IconName; title: string; text: string; keys: string }[] = [
  { icon: "explain", title: "Explain", text: "Select code, right-click, Explain Selection.", keys: "Shift+Alt+E" },
  {
    icon: "sparkle",
    title: "Write",
    text: "Describe it in a comment, Generate Code from Comment.",
    keys: "Shift+Alt+G",
  },
  { icon: "teach", title: "Teach", text: "Select code that works, Teach This as a Task.", keys: "Shift+Alt+T" },
];

/** Draws the welcome, with what has to be done first. */
export function drawEmpty(remedy: Remedy | undefined, send: Send): HTMLElement {
  return h(
    "section",
    { class: "empty" },
    h("h1", {}, icon("sparkle"), "Your own assistant"),
    h(
      "p",
      {},
      "It explains Python, writes it from comments and learns what you teach it. Nothing leaves this machine.",
    ),
    remedy
      ? button(remedy.title, { kind: "primary" }, () => {
          send({ type: "command", command: remedy.command });
        })
      : h("ul", { class: "hints" }, ...HINTS.map(drawHint)),
  );
}

function drawHint(hint: (typeof HINTS)[number]): HTMLLIElement {
  const keys = h("kbd", {}, hint.keys);
  return h("li", {}, icon(hint.icon), h("div", {}, h("strong", {}, hint.title), h("span", {}, hint.text), keys));
}
