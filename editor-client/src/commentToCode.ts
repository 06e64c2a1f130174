/** Turns a comment into code: request, preview, decision. */

import { randomUUID } from "node:crypto";
import * as vscode from "vscode";

import type { Answering } from "./answering";
import { commentAt } from "./comment";
import type { Conversation } from "./conversation";
import type { Corrections } from "./corrections";
import { codeContext, documentVersion, editorRange, wirePosition } from "./editorContext";
import { editFor, insertedLines } from "./insertion";
import { offer } from "./messages";
import type { Judging } from "./judging";
import type { Preview, Proposal } from "./preview";
import type { Generation, TextEdit } from "./protocol";
import { indentLines } from "./text";

/** Where a comment stands. */
interface Place {
  document: vscode.TextDocument;
  position: vscode.Position;
  column: vscode.ViewColumn | undefined;
}

export class CommentToCode {
  readonly #answering: Answering;
  readonly #conversation: Conversation;
  readonly #preview: Preview;
  readonly #corrections: Corrections;
  readonly #judging: Judging;
  readonly #showPanel: (entryId: string) => Promise<void>;
  readonly #places = new Map<string, Place>();

  constructor(parts: {
    answering: Answering;
    conversation: Conversation;
    preview: Preview;
    corrections: Corrections;
    judging: Judging;
    showPanel: (entryId: string) => Promise<void>;
  }) {
    this.#answering = parts.answering;
    this.#conversation = parts.conversation;
    this.#preview = parts.preview;
    this.#corrections = parts.corrections;
    this.#judging = parts.judging;
    this.#showPanel = parts.showPanel;
  }

  /** Generates code for the comment at the cursor of `editor`. */
  async fromEditor(editor: vscode.TextEditor): Promise<void> {
    await this.#generate({
      document: editor.document,
      position: editor.selection.active,
      column: editor.viewColumn,
    });
  }

  /** Generates once more for the comment of an earlier entry, which may be unknown. */
  async again(entryId: string, force: boolean): Promise<void> {
    const place = this.#places.get(entryId);
    if (!place || place.document.isClosed) {
      await vscode.window.showInformationMessage(
        "The document of this comment is closed. Put the cursor on the comment and choose Generate Code from Comment.",
      );
      return;
    }
    await this.#generate(place, force);
  }

  /** Inserts the previewed code as one undo step, unless the text has changed meanwhile. */
  async accept(): Promise<void> {
    const { current } = this.#preview;
    if (!current?.edit) {
      return;
    }
    if (current.outdated) {
      await this.#refuse(current.id);
      return;
    }
    await this.#preview.close(current.id);
    await this.#insert(current, current.edit);
  }

  /** Closes the preview; a request that still runs is stopped. */
  async reject(): Promise<void> {
    const { current } = this.#preview;
    if (current) {
      this.#answering.stop(current.id);
      await this.#preview.close(current.id);
      this.#conversation.decide(current.id, "rejected");
      await this.#judging.judge(current.id, "rejected");
    }
  }

  /** Closes the preview and generates again for the text as it is now. */
  async replace(): Promise<void> {
    const { current } = this.#preview;
    if (current) {
      await this.#preview.close(current.id);
      await this.again(current.id, this.#wasForced(current.id));
    }
  }

  async copy(): Promise<void> {
    await vscode.env.clipboard.writeText(this.#preview.current?.generation?.code ?? "");
  }

  /** The server finds the comment; until it answers, the block at the cursor stands for it. */
  async #generate(place: Place, force = false): Promise<void> {
    const { document, position } = place;
    const comment = commentAt(document.getText().split(/\r?\n/), position.line);
    const anchor = document.lineAt(comment?.lastLine ?? position.line).range.end;
    const proposal: Proposal = {
      ...place,
      id: randomUUID(),
      text: document.getText(),
      anchor,
      indent: comment?.indent ?? "",
    };
    this.#places.set(proposal.id, place);
    const answer = await this.#answering.run(
      {
        question: comment?.prompt ?? document.lineAt(position).text.trim(),
        origination: { kind: "comment", force },
        context: codeContext(document, new vscode.Range(anchor, anchor)),
      },
      "generate",
      { textDocument: documentVersion(document), position: wirePosition(position), force },
      {
        id: proposal.id,
        onText: (text) => {
          this.#preview.append(proposal, text);
        },
      },
    );
    await this.#show(proposal, answer);
  }

  async #show(proposal: Proposal, answer: Generation | undefined): Promise<void> {
    const entry = this.#conversation.entry(proposal.id);
    if (answer?.status === "generated") {
      const edit = editFor(proposal.document.uri.toString(), answer.edit) ?? insertion(proposal, answer.code ?? "");
      if (await this.#preview.complete(proposal, answer, edit)) {
        this.#conversation.decide(proposal.id, "pending");
      }
      return;
    }
    await this.#preview.close(proposal.id);
    if (entry?.state !== "stopped") {
      await this.#showPanel(proposal.id);
    }
  }

  #wasForced(id: string): boolean {
    const origination = this.#conversation.entry(id)?.origination;
    return origination?.kind === "comment" && origination.force === true;
  }

  async #refuse(id: string, reason = "the text has changed since the code was requested."): Promise<void> {
    this.#conversation.decide(id, "refused");
    await offer(vscode.window.showWarningMessage, `Nothing was inserted: ${reason}`, [
      { title: "Generate Again", command: "aiAssistant.generateAgain" },
      { title: "Copy Code", command: "aiAssistant.copyGenerated" },
    ]);
  }

  async #insert(proposal: Proposal, edit: TextEdit): Promise<void> {
    const place = editorRange(edit.range);
    // The cursor stands where the code goes and moves with it. Were it set afterwards, what the person
    // types meanwhile would be torn apart.
    const editor = await vscode.window.showTextDocument(proposal.document, {
      selection: new vscode.Range(place.end, place.end),
      ...(proposal.column !== undefined && { viewColumn: proposal.column }),
    });
    const inserted = await editor.edit((builder) => {
      if (place.isEmpty) {
        builder.insert(place.start, edit.newText);
      } else {
        builder.replace(place, edit.newText);
      }
    });
    if (!inserted) {
      await this.#refuse(proposal.id, "the editor does not let this document be changed; it may be read-only.");
      return;
    }
    const lines = insertedLines(edit);
    editor.revealRange(new vscode.Range(lines.start, 0, Math.max(lines.end - 1, lines.start), 0));
    this.#conversation.decide(proposal.id, "accepted");
    const prompt = this.#conversation.entry(proposal.id)?.question ?? "";
    this.#corrections.watch({ entryId: proposal.id, document: editor.document, lines, prompt });
    await this.#judging.judge(proposal.id, "accepted");
  }
}

/** The edit of a server that proposes none: the code on the lines below the comment. */
function insertion(proposal: Proposal, code: string): TextEdit {
  const place = wirePosition(proposal.anchor);
  const indented = code.startsWith(proposal.indent) ? code : indentLines(code, proposal.indent);
  return { range: { start: place, end: place }, newText: `\n${indented.replace(/\n+$/, "")}` };
}
