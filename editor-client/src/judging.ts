/** Tells the engine what became of generated code, so that its source counts for more or less. */

import type * as vscode from "vscode";

import type { Assistant } from "./assistant";
import type { Conversation } from "./conversation";
import { describeFailure } from "./errors";
import type { Outcome } from "./protocol";

export class Judging {
  readonly #assistant: Assistant;
  readonly #conversation: Conversation;
  readonly #log: vscode.LogOutputChannel;

  constructor(assistant: Assistant, conversation: Conversation, log: vscode.LogOutputChannel) {
    this.#assistant = assistant;
    this.#conversation = conversation;
    this.#log = log;
  }

  /** Judges the task that an entry's code rests on, if it rests on one; a failure is only logged. */
  async judge(entryId: string, outcome: Outcome): Promise<void> {
    const entry = this.#conversation.entry(entryId);
    if (entry?.answer?.status !== "generated" || !entry.answer.grounded) {
      return;
    }
    const [source] = entry.answer.sources;
    if (source) {
      const params = { query: entry.question, taskId: source.taskId, outcome };
      await this.#assistant.request("judge", params).catch((error: unknown) => {
        this.#log.warn(`What became of the code could not be kept: ${describeFailure(error).message}`);
      });
    }
  }
}
