/** Stored tasks as documents: opening one reads it from the engine, saving one changes it there. */

import * as vscode from "vscode";

import type { Assistant } from "./assistant";
import { describeFailure } from "./errors";
import type { TaskDetails } from "./protocol";
import { parseTask, renderTask, TASK_SCHEME } from "./taskDocument";

/** Serves the documents of tasks. */
export class TaskFiles implements vscode.FileSystemProvider, vscode.Disposable {
  readonly #assistant: Assistant;
  readonly #changed = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  readonly #saved = new vscode.EventEmitter<void>();
  readonly #registration: vscode.Disposable;
  readonly #known = new Map<string, { size: number; mtime: number }>();

  readonly onDidChangeFile = this.#changed.event;
  readonly onDidSave = this.#saved.event;

  constructor(assistant: Assistant) {
    this.#assistant = assistant;
    this.#registration = vscode.workspace.registerFileSystemProvider(TASK_SCHEME, this, { isCaseSensitive: true });
  }

  /** Opens the document of a task. */
  async open(taskId: string): Promise<void> {
    const document = await vscode.workspace.openTextDocument(taskUri(taskId));
    await vscode.window.showTextDocument(document, { preview: true });
  }

  async readFile(uri: vscode.Uri): Promise<Uint8Array> {
    const content = await this.#read(uri);
    return new TextEncoder().encode(content);
  }

  async stat(uri: vscode.Uri): Promise<vscode.FileStat> {
    if (!this.#known.has(uri.path)) {
      await this.#read(uri);
    }
    const known = this.#known.get(uri.path) ?? { size: 0, mtime: 0 };
    return { type: vscode.FileType.File, ctime: 0, ...known };
  }

  async writeFile(uri: vscode.Uri, content: Uint8Array): Promise<void> {
    const task = parseTask(new TextDecoder().decode(content));
    if (!task) {
      throw new vscode.FileSystemError('The first line must be "# Task: " and the description.');
    }
    try {
      const changed = await this.#assistant.request("updateTask", { taskId: taskId(uri), ...task });
      this.#note(uri, changed);
      if (changed.note) {
        void vscode.window.showInformationMessage(changed.note);
      }
    } catch (error) {
      throw new vscode.FileSystemError(describeFailure(error).message);
    }
    this.#changed.fire([{ type: vscode.FileChangeType.Changed, uri }]);
    this.#saved.fire();
  }

  watch(): vscode.Disposable {
    return new vscode.Disposable(() => undefined);
  }

  readDirectory(): [string, vscode.FileType][] {
    return [];
  }

  createDirectory(): never {
    throw vscode.FileSystemError.NoPermissions("Tasks have no folders.");
  }

  delete(): never {
    throw vscode.FileSystemError.NoPermissions("Delete a task in the Tasks view.");
  }

  rename(): never {
    throw vscode.FileSystemError.NoPermissions("Change a task's description instead.");
  }

  dispose(): void {
    vscode.Disposable.from(this.#registration, this.#changed, this.#saved).dispose();
  }

  async #read(uri: vscode.Uri): Promise<string> {
    try {
      return this.#note(uri, await this.#assistant.request("task", { taskId: taskId(uri) }));
    } catch (error) {
      throw vscode.FileSystemError.Unavailable(describeFailure(error).message);
    }
  }

  /** Remembers what `stat` says; a time of its own for each read would look like a conflict. */
  #note(uri: vscode.Uri, task: TaskDetails): string {
    const content = renderTask(task);
    this.#known.set(uri.path, { size: Buffer.byteLength(content), mtime: Date.parse(task.updatedAt) });
    return content;
  }
}

function taskUri(id: string): vscode.Uri {
  return vscode.Uri.from({ scheme: TASK_SCHEME, path: `/${id}.py` });
}

function taskId(uri: vscode.Uri): string {
  return uri.path.slice("/".length, -".py".length);
}
