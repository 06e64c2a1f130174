/** Where generated code goes, and where it is after later edits. Pure. */

import type { Position, TextEdit, WorkspaceEdit } from "./protocol";

/** Lines `start` to `end`, the end not included, counted from 0. */
export interface LineSpan {
  start: number;
  end: number;
}

/** A change of a document in whole lines. */
export interface LineChange {
  startLine: number;
  endLine: number;
  /** Line breaks in the new text. */
  newLines: number;
}

/** Returns the one edit for `uri`, or nothing if the server proposes none. */
export function editFor(uri: string, edit: WorkspaceEdit | undefined): TextEdit | undefined {
  const versioned = edit?.documentChanges?.find((change) => change.textDocument.uri === uri)?.edits[0];
  return versioned ?? edit?.changes?.[uri]?.[0];
}

/** Returns `text` after `edit`, which must start and end at lines of `text`. */
export function applyEdit(text: string, edit: TextEdit): string {
  return text.slice(0, offsetAt(text, edit.range.start)) + edit.newText + text.slice(offsetAt(text, edit.range.end));
}

/** Lines that the new text of `edit` covers once it is applied. */
export function insertedLines(edit: TextEdit): LineSpan {
  const leading = /^\n*/.exec(edit.newText)?.[0].length ?? 0;
  const body = edit.newText.replace(/\r/g, "").trim();
  const start = edit.range.start.line + leading;
  return { start, end: start + (body ? body.split("\n").length : 0) };
}

/**
 * Follows a span through a change: edits above move it, edits inside stretch or shrink it, and it
 * is gone when a change that begins above it reaches its last line.
 */
export function follow(span: LineSpan, change: LineChange): LineSpan | undefined {
  const delta = change.newLines - (change.endLine - change.startLine);
  if (change.startLine >= span.end) {
    return span;
  }
  if (change.endLine < span.start) {
    return { start: span.start + delta, end: span.end + delta };
  }
  if (change.startLine < span.start && change.endLine >= span.end - 1) {
    return undefined;
  }
  const start = change.startLine < span.start ? change.startLine + change.newLines : span.start;
  const end = change.endLine < span.end ? span.end + delta : change.startLine + 1;
  return { start, end };
}

function offsetAt(text: string, position: Position): number {
  let start = 0;
  for (let line = 0; line < position.line; line += 1) {
    const next = text.indexOf("\n", start);
    if (next < 0) {
      return text.length;
    }
    start = next + 1;
  }
  return Math.min(start + position.character, text.length);
}
