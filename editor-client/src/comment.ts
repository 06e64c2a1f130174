/** Finds the comment that describes code to write. Pure. */

export interface DescribedComment {
  /** The comment's words, without marks. */
  prompt: string;
  /** Whitespace before the comment. */
  indent: string;
  /** Line of the last comment line, counted from 0. */
  lastLine: number;
}

const COMMENT = /^(\s*)#+[ \t]?(.*)$/;

/**
 * Returns the block of comment lines that holds `line`; when that line is blank, the block right
 * above it, so that the cursor may already stand below the comment.
 */
export function commentAt(lines: readonly string[], line: number): DescribedComment | undefined {
  const anchor = isBlank(lines[line]) ? line - 1 : line;
  const indent = indentOfComment(lines[anchor]);
  if (indent === undefined) {
    return undefined;
  }
  let first = anchor;
  let last = anchor;
  while (indentOfComment(lines[first - 1]) === indent) {
    first -= 1;
  }
  while (indentOfComment(lines[last + 1]) === indent) {
    last += 1;
  }
  const words = lines.slice(first, last + 1).map((text) => COMMENT.exec(text)?.[2]?.trim() ?? "");
  const prompt = words.filter(Boolean).join("\n");
  return prompt ? { prompt, indent, lastLine: last } : undefined;
}

function indentOfComment(text: string | undefined): string | undefined {
  return text === undefined ? undefined : COMMENT.exec(text)?.[1];
}

function isBlank(text: string | undefined): boolean {
  return text?.trim() === "";
}
