/** One question with its answer. */

import type { Entry, FromPanel } from "../panelMessages";
import type { Answer, Explanation, Generation, Intent, RouteChoice, TaskMatch, Timings } from "../protocol";
import { formatDuration, formatSimilarity } from "../text";
import { button, h, icon, type IconName } from "./dom";
import { renderCode, renderMarkdown } from "./markdown";

export type Send = (message: FromPanel) => void;

const DECISIONS: Record<NonNullable<Entry["decision"]>, { text: string; icon: IconName } | undefined> = {
  pending: undefined,
  accepted: { text: "Inserted", icon: "check" },
  rejected: { text: "Not inserted", icon: "close" },
  refused: { text: "Could not be inserted", icon: "warning" },
  dismissed: { text: "Dismissed", icon: "close" },
  taught: { text: "Taught", icon: "teach" },
};

/** Draws an entry. */
export function drawEntry(entry: Entry, send: Send): HTMLElement {
  return h(
    "article",
    {
      class: `entry ${entry.state}`,
      id: domId(entry.id),
      "aria-label": entry.question,
      "aria-busy": entry.state === "working" ? "true" : "false",
      tabindex: "-1",
    },
    drawQuestion(entry, send),
    drawBody(entry, send),
    drawFooter(entry, send),
  );
}

/** Replaces the text of an answer that is still being written. */
export function updateText(article: HTMLElement, entry: Entry, send: Send): void {
  article.querySelector(".progress")?.remove();
  article.querySelector(".answer")?.replaceChildren(...drawText(entry, send));
}

export function domId(id: string): string {
  return `entry-${id}`;
}

function drawQuestion(entry: Entry, send: Send): HTMLElement {
  const { context } = entry;
  const chip =
    context &&
    (context.uri
      ? button(context.label, { icon: "code", kind: "link", title: `Show ${context.label}` }, () => {
          send({ type: "openContext", id: entry.id });
        })
      : h("span", { class: "chip" }, icon("code"), context.label));
  const glyph = entry.origination.kind === "comment" ? "sparkle" : "explain";
  return h("header", {}, icon(glyph), h("h2", {}, entry.question), chip);
}

function drawBody(entry: Entry, send: Send): HTMLElement {
  return h(
    "div",
    { class: "body" },
    entry.answer?.status === "unknown" && drawUnknown(entry, entry.answer, send),
    h("div", { class: "answer" }, ...drawText(entry, send)),
    entry.state === "working" && !entry.text && drawProgress(entry),
    entry.state === "stopped" && h("p", { class: "note" }, icon("stop"), "Stopped"),
    entry.problem && drawProblem(entry.problem, send),
  );
}

function drawText(entry: Entry, send: Send): Node[] {
  if (!entry.text) {
    return [];
  }
  if (isCode(entry)) {
    return [withTools(renderCode(entry.text.replace(/\n+$/, "")), entry.text, send)];
  }
  const content = h("div", { class: "markdown" }, renderMarkdown(entry.text));
  for (const pre of content.querySelectorAll("pre")) {
    const holder = document.createElement("div");
    pre.replaceWith(holder);
    holder.replaceWith(withTools(pre, pre.textContent, send));
  }
  return [content];
}

function isCode(entry: Entry): boolean {
  return entry.answer ? entry.answer.status !== "answered" : entry.origination.kind === "comment";
}

function withTools(pre: HTMLElement, code: string, send: Send): HTMLElement {
  return h(
    "div",
    { class: "code" },
    h(
      "div",
      { class: "tools", role: "toolbar", "aria-label": "Code" },
      button("Copy", { icon: "copy", kind: "icon" }, () => {
        send({ type: "copy", text: code });
      }),
      button("Insert at Cursor", { icon: "insert", kind: "icon" }, () => {
        send({ type: "insert", text: code });
      }),
    ),
    pre,
  );
}

function drawProgress(entry: Entry): HTMLElement {
  const { progress } = entry;
  const bar = h("progress", { "aria-label": progress?.message ?? "Thinking", max: "100" });
  if (progress?.percentage !== undefined) {
    bar.value = progress.percentage;
  }
  return h("div", { class: "progress" }, h("span", {}, progress?.message ?? "Thinking"), bar);
}

function drawProblem(problem: NonNullable<Entry["problem"]>, send: Send): HTMLElement {
  const remedies = problem.remedies.map(({ title, command }) =>
    button(title, {}, () => {
      send({ type: "command", command });
    }),
  );
  return h(
    "div",
    { class: "callout error" },
    h("p", {}, icon("warning"), h("span", {}, problem.message)),
    h("div", { class: "buttons" }, ...remedies),
  );
}

function drawUnknown(entry: Entry, answer: Generation, send: Send): HTMLElement {
  const decided = entry.decision !== undefined;
  return h(
    "div",
    { class: "callout unknown" },
    h("p", {}, icon("teach"), h("strong", {}, "I have not learnt this yet.")),
    answer.message && h("p", {}, answer.message),
    answer.sources.length > 0 && h("p", { class: "label" }, "Closest stored tasks"),
    drawSources(answer, send),
    !decided &&
      h(
        "div",
        { class: "buttons" },
        button("Teach…", { icon: "teach", kind: "primary" }, () => {
          send({ type: "teach", id: entry.id });
        }),
        button("Generate Anyway", { icon: "sparkle" }, () => {
          send({ type: "again", id: entry.id, force: true });
        }),
        button("Dismiss", {}, () => {
          send({ type: "dismiss", id: entry.id });
        }),
      ),
  );
}

function drawFooter(entry: Entry, send: Send): HTMLElement {
  const { answer } = entry;
  const footer = h("footer", {});
  if (entry.state === "working") {
    footer.append(
      button("Stop", { icon: "stop", title: "Stop this answer" }, () => {
        send({ type: "stop", id: entry.id });
      }),
    );
  }
  if (answer?.status === "generated") {
    footer.append(...drawGrounding(answer, send), ...drawDecision(entry, send));
  }
  const decision = entry.decision && DECISIONS[entry.decision];
  if (decision) {
    footer.append(h("p", { class: "note" }, icon(decision.icon), decision.text));
  }
  if (answer) {
    footer.append(drawBadges(entry, answer, send));
  }
  return footer;
}

function drawDecision(entry: Entry, send: Send): HTMLElement[] {
  return entry.decision === "pending"
    ? [
        h(
          "div",
          { class: "buttons" },
          button("Accept", { icon: "check", kind: "primary" }, () => {
            send({ type: "accept" });
          }),
          button("Reject", { icon: "close" }, () => {
            send({ type: "reject" });
          }),
        ),
      ]
    : [];
}

function drawGrounding(answer: Generation, send: Send): Node[] {
  const words = { grounded: "Grounded in", weak: "Weak match: check with care", unknown: "Not grounded; closest" };
  const syntax = answer.checks?.syntax === false && (answer.checks.problem ?? "This is no valid Python.");
  return [
    ...(syntax ? [h("p", { class: "note bad" }, icon("warning"), syntax)] : []),
    ...(answer.message ? [h("p", { class: "note" }, icon(answer.grounded ? "book" : "warning"), answer.message)] : []),
    ...(answer.sources.length ? [h("p", { class: "label" }, words[answer.band]), drawSources(answer, send)] : []),
  ];
}

function drawSources(answer: Generation, send: Send): HTMLElement {
  return h("ul", { class: "sources" }, ...answer.sources.map((source) => drawSource(source, answer.threshold, send)));
}

function drawSource(source: TaskMatch, threshold: number, send: Send): HTMLLIElement {
  const origin = { builtin: "built in", taught: "taught by you", imported: "imported" }[source.origin];
  const meter = h("meter", { min: "0", max: "1", "aria-hidden": "true" });
  meter.value = source.similarity;
  meter.low = threshold;
  // Without it the browser takes the middle for the best, and a high threshold would turn the colours round.
  meter.optimum = 1;
  const title = source.reason ? `${source.description}\n${source.reason}` : source.description;
  const open = button(source.description, { icon: "book", kind: "link", title }, () => {
    send({ type: "openTask", taskId: source.taskId });
  });
  return h(
    "li",
    {},
    open,
    h(
      "div",
      { class: "facts" },
      h("span", { class: "similarity" }, formatSimilarity(source.similarity)),
      meter,
      h("span", { class: `origin ${source.origin}` }, origin),
    ),
  );
}

/** Says which way the answer came: route and why, model, memory, timings. */
function drawBadges(entry: Entry, answer: Answer, send: Send): HTMLElement {
  const { route, timings } = answer;
  const other: Intent = answer.status === "answered" ? "generate" : "explain";
  return h(
    "ul",
    { class: "badges", "aria-label": "How this was answered" },
    route && badge(`${route.intent} ${certainty(route)}`, why(route), route.sure === false ? "unsure" : "route"),
    answer.model && badge(answer.model.split("/").at(-1) ?? answer.model, `Model: ${answer.model}`),
    answer.status === "answered" && badge(...memory(answer)),
    timings.total !== undefined && badge(speed(timings), breakdown(timings)),
    answer.finish === "length" && badge("cut short", "The limit of tokens was reached", "unsure"),
    entry.origination.kind === "ask" &&
      h(
        "li",
        {},
        button(`Wrong route: ${other} instead`, { kind: "link", title: `Answer again: ${other} instead` }, () => {
          send({ type: "again", id: entry.id, intent: other });
        }),
      ),
  );
}

function badge(text: string, title: string, kind = ""): HTMLElement {
  return h("li", { class: `badge ${kind}`.trim(), title, "aria-label": `${text}. ${title}` }, text);
}

/** How probable the route was, unless somebody chose it against the odds. */
function certainty(route: RouteChoice): string {
  const chosen = Object.values(route.scores).some((other) => other > (route.scores[route.intent] ?? 0));
  return chosen ? "as chosen" : score(route, route.intent);
}

function score(route: RouteChoice, intent: Intent): string {
  const value = route.scores[intent];
  return value === undefined ? "" : value.toFixed(2);
}

function why(route: RouteChoice): string {
  const scores = `explain ${score(route, "explain")}, generate ${score(route, "generate")}, margin ${route.margin.toFixed(2)}`;
  return [`Route: ${scores}`, route.sure === false ? "not sure" : undefined, route.reason].filter(Boolean).join(". ");
}

function memory({ memory: use }: Explanation): [string, string] {
  const facts = [
    `The prompt takes ${use.promptTokens} of ${use.limit} tokens`,
    use.summarised ? `${use.summarised} earlier questions are summarised` : undefined,
    use.omitted ? `${use.omitted} are left out` : undefined,
    use.shortened ? "the selection was shortened" : undefined,
  ];
  return [`${use.promptTokens}/${use.limit} tokens`, facts.filter(Boolean).join("; ")];
}

function speed({ total = 0, tokensPerSecond }: Timings): string {
  return [formatDuration(total), tokensPerSecond ? `${tokensPerSecond.toFixed(1)} tokens/s` : ""]
    .filter(Boolean)
    .join(" · ");
}

function breakdown(timings: Timings): string {
  const parts: [string, number | undefined][] = [
    ["queue", timings.queue],
    ["route", timings.route],
    ["retrieve", timings.retrieve],
    ["model load", timings.swap],
    ["first token", timings.firstToken],
    ["total", timings.total],
  ];
  const known = parts.filter((part): part is [string, number] => part[1] !== undefined);
  return known.map(([name, value]) => `${name} ${formatDuration(value)}`).join(", ");
}
