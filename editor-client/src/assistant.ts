/** Typed requests to the language server, with their tokens, progress and cancellation. */

import { randomUUID } from "node:crypto";
import * as vscode from "vscode";
import type { WorkDoneProgressBegin, WorkDoneProgressEnd, WorkDoneProgressReport } from "vscode-languageclient/node";

import type { Progress } from "./panelMessages";
import type { Method, Requests } from "./protocol";
import type { LanguageServer } from "./server";

/** How a caller follows a request. */
export interface Observer {
  token?: vscode.CancellationToken;
  onText?: (text: string) => void;
  onProgress?: (progress: Progress) => void;
}

/** The language server's abilities. */
export class Assistant implements vscode.Disposable {
  readonly #server: LanguageServer;
  readonly #streams = new Map<string, (text: string) => void>();
  readonly #subscription: vscode.Disposable;

  constructor(server: LanguageServer) {
    this.#server = server;
    this.#subscription = server.onTokens(({ streamId, text }) => this.#streams.get(streamId)?.(text));
  }

  /**
   * Sends `assistant/<method>`; starts the server first if it does not run.
   *
   * @throws The server's error, or `NotSetUp`; `describeFailure` reads both.
   */
  async request<M extends Method>(
    method: M,
    params: Requests[M]["params"],
    observer: Observer = {},
  ): Promise<Requests[M]["result"]> {
    const client = await this.#server.client();
    const { WorkDoneProgress } = await import("./languageClient");
    const id = randomUUID();
    const { onText, onProgress } = observer;
    // Without one the client would take the missing argument for a second parameter.
    const token = observer.token ?? new vscode.CancellationTokenSource().token;
    if (onText) {
      this.#streams.set(id, onText);
    }
    const progress = onProgress && client.onProgress(WorkDoneProgress.type, id, reporter(onProgress));
    const delivery = { ...(onText && { streamId: id }), ...(onProgress && { workDoneToken: id }) };
    try {
      return await client.sendRequest<Requests[M]["result"]>(`assistant/${method}`, { ...params, ...delivery }, token);
    } finally {
      this.#streams.delete(id);
      progress?.dispose();
    }
  }

  dispose(): void {
    this.#subscription.dispose();
  }
}

type WorkDone = WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd;

/** Turns the server's progress into whole states: a report leaves out what has not changed. */
function reporter(onProgress: (progress: Progress) => void): (value: WorkDone) => void {
  let title = "";
  return (value) => {
    if (value.kind === "end") {
      return;
    }
    if (value.kind === "begin") {
      title = value.title;
    }
    const { message, percentage } = value;
    onProgress({ message: message ?? title, ...(percentage !== undefined && { percentage }) });
  };
}
