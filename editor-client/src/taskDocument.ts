/** A stored task as a Python document that a person can read and change. Pure. */

import type { TaskDetails } from "./protocol";

/** Addresses of these documents: `ai-codegen-task:/<id>.py`. */
export const TASK_SCHEME = "ai-codegen-task";

const TITLE = "# Task: ";
const CONTINUED = "#       ";
const TESTS = "# --- Tests ---";

/** What a person may change in a task's document. */
export interface EditedTask {
  description: string;
  implementation: string;
  tests: string;
}

/** Writes the task: its description as a comment, its code, then its tests. */
export function renderTask(task: Pick<TaskDetails, "description" | "implementation" | "tests">): string {
  const [first = "", ...rest] = task.description.split("\n");
  const title = [TITLE + first, ...rest.map((line) => (CONTINUED + line).trimEnd())].join("\n");
  const tests = task.tests?.trim() ? `\n\n${TESTS}\n\n${task.tests.trim()}\n` : "";
  return `${title}\n\n${task.implementation.trimEnd()}\n${tests}`;
}

/** Reads a document that `renderTask` wrote, changed or not; nothing if the title is gone. */
export function parseTask(text: string): EditedTask | undefined {
  const lines = text.replace(/\r/g, "").split("\n");
  if (!lines[0]?.startsWith(TITLE.trimEnd())) {
    return undefined;
  }
  let body = 1;
  while (lines[body]?.startsWith(CONTINUED.trimEnd()) && lines[body] !== TESTS) {
    body += 1;
  }
  const tests = lines.indexOf(TESTS, body);
  const words = [lines[0].slice(TITLE.length), ...lines.slice(1, body).map((line) => line.slice(CONTINUED.length))];
  return {
    description: words.join("\n").trim(),
    implementation: trimBlankLines(lines.slice(body, tests < 0 ? undefined : tests)),
    tests: tests < 0 ? "" : trimBlankLines(lines.slice(tests + 1)),
  };
}

function trimBlankLines(lines: string[]): string {
  return lines
    .join("\n")
    .replace(/^(?:[ \t]*\n)+/, "")
    .trimEnd();
}
