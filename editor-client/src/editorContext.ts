/** What an editor shows, as the server and the panel want it. */

import * as vscode from "vscode";

import type { CodeContext } from "./panelMessages";
import type { DocumentVersion, Position, Range } from "./protocol";

export const LANGUAGE = "python";

export const PREVIEW_SCHEME = "ai-codegen-preview";

/** What the server is told of: code of any file system, also what has never been saved. */
export const DOCUMENTS = [{ language: LANGUAGE }];

/** Whether a document is a preview of ours, which is no place to ask about or to write to. */
export function isPreview(document: vscode.TextDocument): boolean {
  return document.uri.scheme === PREVIEW_SCHEME;
}

/** The Python editor that the person works in, or worked in last. */
export function pythonEditor(): vscode.TextEditor | undefined {
  const editor = vscode.window.activeTextEditor;
  return editor?.document.languageId === LANGUAGE && !isPreview(editor.document) ? editor : undefined;
}

export function documentVersion(document: vscode.TextDocument): DocumentVersion {
  return { uri: document.uri.toString(), version: document.version };
}

export function wirePosition({ line, character }: vscode.Position): Position {
  return { line, character };
}

export function wireRange({ start, end }: vscode.Range): Range {
  return { start: wirePosition(start), end: wirePosition(end) };
}

export function editorRange({ start, end }: Range): vscode.Range {
  return new vscode.Range(start.line, start.character, end.line, end.character);
}

/** Describes a range for people: `sample.py:3–9`. */
export function codeContext(document: vscode.TextDocument, range: vscode.Range): CodeContext {
  const name = document.uri.path.split("/").at(-1) ?? document.uri.path;
  const first = range.start.line + 1;
  // A selection of whole lines ends at the start of the next one.
  const last = range.end.character === 0 && range.end.line > range.start.line ? range.end.line : range.end.line + 1;
  const lines = last > first ? `${first}–${last}` : `${first}`;
  return { uri: document.uri.toString(), range: wireRange(range), label: `${name}:${lines}` };
}

/** The selection's context, or nothing when nothing is selected. */
export function selectionContext(editor: vscode.TextEditor | undefined): CodeContext | undefined {
  return editor && !editor.selection.isEmpty ? codeContext(editor.document, editor.selection) : undefined;
}

/**
 * Opens the document that code came from.
 *
 * @throws Error when it never was in a file and is closed: opening it would make an empty one.
 */
export async function contextDocument({ uri, label }: CodeContext): Promise<vscode.TextDocument> {
  const open = vscode.workspace.textDocuments.find((document) => document.uri.toString() === uri);
  const wanted = vscode.Uri.parse(uri);
  if (!open && wanted.scheme === "untitled") {
    throw new Error(`The code of ${label} is gone: its document was closed or saved under another name.`);
  }
  return open ?? vscode.workspace.openTextDocument(wanted);
}

/** Shows code that an answer was about. */
export async function revealContext(context: CodeContext): Promise<void> {
  if (!context.uri || !context.range) {
    return;
  }
  const document = await contextDocument(context);
  const selection = document.validateRange(editorRange(context.range));
  await vscode.window.showTextDocument(document, { selection });
}
