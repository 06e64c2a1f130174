/** Notifications for work that takes long, with Cancel. */

import * as vscode from "vscode";

import type { Assistant, Observer } from "./assistant";
import type { Progress } from "./panelMessages";
import type { Method, Requests } from "./protocol";

/** Sends a request while a notification shows how far it is and offers to cancel it. */
export async function requestWithProgress<M extends Method>(
  assistant: Assistant,
  title: string,
  method: M,
  params: Requests[M]["params"],
): Promise<Requests[M]["result"]> {
  const options = { location: vscode.ProgressLocation.Notification, title, cancellable: true };
  return vscode.window.withProgress(options, (progress, token) =>
    assistant.request(method, params, { token, onProgress: increments(progress) }),
  );
}

/**
 * How long a phase may take before a notification is worth the interruption: a model is mostly
 * there before, and a notification that comes up makes the keys of that moment slow to be painted.
 * Meanwhile the panel and the status bar say what is being done.
 */
const PATIENCE = 5_000;

/**
 * Shows a notification with Cancel for a request whose answer is slow to begin, because an
 * engine starts or a model loads; it goes away with the first token.
 */
export class SlowStart implements Required<Pick<Observer, "onText" | "onProgress">>, vscode.Disposable {
  readonly #cancel: () => void;
  #timer: NodeJS.Timeout | undefined;
  #close: (() => void) | undefined;
  #report: ((progress: Progress) => void) | undefined;
  #last: Progress = { message: "" };

  constructor(title: string, cancel: () => void) {
    this.#cancel = cancel;
    this.#timer = setTimeout(() => {
      this.#open(title);
    }, PATIENCE);
  }

  readonly onText = (): void => {
    this.dispose();
  };

  readonly onProgress = (progress: Progress): void => {
    this.#last = progress;
    this.#report?.(progress);
  };

  dispose(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#close?.();
    this.#close = undefined;
    this.#report = undefined;
  }

  #open(title: string): void {
    const options = { location: vscode.ProgressLocation.Notification, title, cancellable: true };
    void vscode.window.withProgress(options, (progress, token) => {
      token.onCancellationRequested(this.#cancel);
      this.#report = increments(progress);
      this.#report(this.#last);
      return new Promise<void>((resolve) => {
        this.#close = resolve;
      });
    });
  }
}

/** VS Code adds up increments, where the server says how far it is. */
export function increments(
  progress: vscode.Progress<{ message?: string; increment?: number }>,
): (state: Progress) => void {
  let reached = 0;
  return ({ message, percentage }) => {
    const increment = Math.max(0, (percentage ?? reached) - reached);
    reached += increment;
    progress.report({ message, increment });
  };
}
