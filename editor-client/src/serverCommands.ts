/** The server's commands, as its code actions name them, done by the client's own. */

import * as vscode from "vscode";
import type { Middleware } from "vscode-languageclient/node";

import { editorRange, LANGUAGE } from "./editorContext";
import type { DocumentVersion, Position, Range } from "./protocol";

/** What a code action says about the place it was offered for. */
interface Argument {
  textDocument?: DocumentVersion;
  range?: Range;
  position?: Position;
}

const CLIENT_COMMANDS: Record<string, string> = {
  "assistant.explainSelection": "aiAssistant.explainSelection",
  "assistant.generateFromComment": "aiAssistant.generateFromComment",
  "assistant.teachSelection": "aiAssistant.teachSelection",
  "assistant.ask": "aiAssistant.ask",
  "assistant.showStatus": "aiAssistant.showStatus",
  "assistant.unloadModels": "aiAssistant.unloadModels",
  "assistant.newConversation": "aiAssistant.newConversation",
};

/**
 * Runs the client's command for each of the server's, because this client has a panel and a
 * preview where the server only has files and messages.
 */
export const serverCommands: Middleware = {
  executeCommand: async (command, args: unknown[], next): Promise<unknown> => {
    const own = CLIENT_COMMANDS[command];
    if (!own) {
      return next(command, args);
    }
    await showPlace(args[0] ?? {});
    return vscode.commands.executeCommand(own);
  },
};

/** Selects what the code action was offered for, since the selection may have moved on. */
async function showPlace({ textDocument, range, position }: Argument): Promise<void> {
  const active = vscode.window.activeTextEditor;
  const place = range ?? (position && { start: position, end: position });
  if (!textDocument || !place) {
    return;
  }
  const uri = vscode.Uri.parse(textDocument.uri);
  const shown = active?.document.uri.toString() === uri.toString() ? active : undefined;
  const editor = shown ?? (await vscode.window.showTextDocument(uri));
  if (editor.document.languageId === LANGUAGE) {
    const { start, end } = editor.document.validateRange(editorRange(place));
    editor.selection = new vscode.Selection(start, end);
  }
}
