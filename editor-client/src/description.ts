/** Proposes a task's description for code that a person wants to teach. Pure. */

import { commentAt } from "./comment";
import { dedent } from "./text";

const DOCSTRING = /^[ \t]*(?:async[ \t]+)?(?:def|class)\b[\s\S]*?:[ \t]*(?:#.*)?\r?\n\s*[rRuU]?("""|''')([\s\S]*?)\1/m;
const DEFINITION = /^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)/m;

/**
 * Describes `code` by its docstring, else by the comment that starts it or stands above it, else
 * by the name it defines; empty when there is none of these.
 *
 * @param above The document's lines above the selection.
 */
export function describe(code: string, above: readonly string[]): string {
  return fromDocstring(code) ?? fromComment(code) ?? fromCommentAbove(above) ?? fromName(code) ?? "";
}

function fromDocstring(code: string): string | undefined {
  const text = DOCSTRING.exec(code)?.[2];
  const [summary] = dedent(text?.trim() ?? "").split(/\r?\n\s*\r?\n/);
  return oneLine(summary);
}

function fromComment(code: string): string | undefined {
  return oneLine(commentAt(code.split(/\r?\n/), 0)?.prompt);
}

function fromCommentAbove(above: readonly string[]): string | undefined {
  const last = above.at(-1);
  return last?.trim() ? oneLine(commentAt(above, above.length - 1)?.prompt) : undefined;
}

function fromName(code: string): string | undefined {
  const name = DEFINITION.exec(code)?.[1];
  const words = name
    ?.replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .replace(/_+/g, " ")
    .trim()
    .toLowerCase();
  return words ? words.charAt(0).toUpperCase() + words.slice(1) : undefined;
}

function oneLine(text: string | undefined): string | undefined {
  const line = text?.replace(/\s+/g, " ").trim();
  return line === "" ? undefined : line;
}
