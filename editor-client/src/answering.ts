/** Puts questions to the server and lets the conversation follow their answers. */

import { randomUUID } from "node:crypto";
import * as vscode from "vscode";

import type { Assistant } from "./assistant";
import type { Conversation } from "./conversation";
import { contextDocument, documentVersion, editorRange } from "./editorContext";
import { describeFailure } from "./errors";
import type { CodeContext, Entry } from "./panelMessages";
import { SlowStart } from "./progress";
import type { AskParams, Requests } from "./protocol";
import { shorten } from "./text";

type Question = Omit<Entry, "id" | "state" | "text">;
type AnsweredMethod = "ask" | "explain" | "generate";

/** Runs questions, several at once if the person wants, and stops them. */
export class Answering {
  readonly #assistant: Assistant;
  readonly #conversation: Conversation;
  readonly #log: vscode.LogOutputChannel;
  readonly #running = new Map<string, vscode.CancellationTokenSource>();

  constructor(assistant: Assistant, conversation: Conversation, log: vscode.LogOutputChannel) {
    this.#assistant = assistant;
    this.#conversation = conversation;
    this.#log = log;
  }

  /** Asks a free question, about the code in `context` if there is one. */
  async ask(query: string, context?: CodeContext, overrides: Pick<AskParams, "intent" | "force"> = {}): Promise<void> {
    const place = context && (await locate(context));
    const question = {
      question: query,
      origination: { kind: "ask" as const, ...overrides },
      ...(context && { context }),
    };
    await this.run(question, "ask", { query, ...this.#conversationId(), ...place, ...overrides });
  }

  /** Explains the code in `context`. */
  async explain(context: CodeContext): Promise<void> {
    const place = await locate(context);
    if (place) {
      const question = { question: "Explain this code", origination: { kind: "explain" as const }, context };
      await this.run(question, "explain", { ...place, ...this.#conversationId() });
    }
  }

  /** Puts a question to the server; returns the answer, or nothing when it failed or was stopped. */
  async run<M extends AnsweredMethod>(
    question: Question,
    method: M,
    params: Requests[M]["params"],
    { id = randomUUID(), onText }: { id?: string; onText?: (text: string) => void } = {},
  ): Promise<Requests[M]["result"] | undefined> {
    const source = new vscode.CancellationTokenSource();
    const slow = new SlowStart(shorten(question.question, 60), () => {
      source.cancel();
    });
    this.#running.set(id, source);
    this.#conversation.begin({ id, ...question });
    try {
      const answer = await this.#assistant.request(method, params, {
        token: source.token,
        onText: (text) => {
          slow.onText();
          this.#conversation.append(id, text);
          onText?.(text);
        },
        onProgress: (progress) => {
          slow.onProgress(progress);
          this.#conversation.progress(id, progress);
        },
      });
      this.#conversation.finish(id, answer);
      return answer;
    } catch (error) {
      const failure = describeFailure(error);
      this.#log.info(`${method} ended without an answer: ${failure.message}`);
      this.#conversation.fail(id, failure);
      return undefined;
    } finally {
      slow.dispose();
      this.#running.delete(id);
      source.dispose();
    }
  }

  /** Stops one question, or all. */
  stop(id?: string): void {
    for (const [running, source] of this.#running) {
      if (id === undefined || id === running) {
        source.cancel();
      }
    }
  }

  #conversationId(): { conversationId?: string } {
    const { conversationId } = this.#conversation;
    return conversationId ? { conversationId } : {};
  }
}

/** Names the document in its present version; nothing for code that is no longer in a document. */
async function locate(context: CodeContext): Promise<Required<Pick<AskParams, "textDocument" | "range">> | undefined> {
  if (!context.uri || !context.range) {
    return undefined;
  }
  const document = await contextDocument(context);
  const { start, end } = document.validateRange(editorRange(context.range));
  return { textDocument: documentVersion(document), range: { start, end } };
}
