/** Messages that offer what can be done next. */

import * as vscode from "vscode";

import { describeFailure, type Remedy } from "./errors";

/** Shows a failure with the commands that help; a cancelled request says nothing. */
export async function showFailure(error: unknown): Promise<void> {
  const failure = describeFailure(error);
  if (!failure.cancelled) {
    await offer(vscode.window.showErrorMessage, failure.message, failure.remedies);
  }
}

/** Shows a message and runs the command that the person chooses. */
export async function offer(
  show: (message: string, ...items: Remedy[]) => Thenable<Remedy | undefined>,
  message: string,
  remedies: Remedy[],
): Promise<void> {
  const chosen = await show(message, ...remedies);
  if (chosen) {
    await vscode.commands.executeCommand(chosen.command);
  }
}
