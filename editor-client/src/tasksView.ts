/** The tree of stored tasks. */

import { isAbsolute } from "node:path";
import * as vscode from "vscode";

import type { Assistant } from "./assistant";
import { showFailure } from "./messages";
import { requestWithProgress } from "./progress";
import type { Origin, TaskList, TaskSummary } from "./protocol";
import { count, formatSimilarity, shorten } from "./text";

const PAGE = 200;
const FOUND = 30;

const ORIGINS: Record<Origin, { label: string; icon: string }> = {
  taught: { label: "Taught by you", icon: "mortar-board" },
  imported: { label: "Imported", icon: "cloud-download" },
  builtin: { label: "Built in", icon: "library" },
};

export type Node = { kind: "group"; origin: Origin; list: TaskList } | { kind: "task"; task: TaskSummary };

/** Lists the tasks by where they come from, or by how well they match a search. */
export class TasksView implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  readonly #assistant: Assistant;
  readonly #ready: () => boolean;
  readonly #view: vscode.TreeView<Node>;
  readonly #changed = new vscode.EventEmitter<undefined>();
  #query: string | undefined;

  readonly onDidChangeTreeData = this.#changed.event;

  constructor(assistant: Assistant, ready: () => boolean) {
    this.#assistant = assistant;
    this.#ready = ready;
    this.#view = vscode.window.createTreeView("aiAssistant.tasks", { treeDataProvider: this, showCollapseAll: true });
  }

  async getChildren(node?: Node): Promise<Node[]> {
    if (!this.#ready()) {
      return [];
    }
    if (node) {
      return node.kind === "group" ? node.list.tasks.map(asNode) : [];
    }
    try {
      return this.#query ? await this.#found(this.#query) : await this.#groups();
    } catch (error) {
      void showFailure(error);
      return [];
    }
  }

  getTreeItem(node: Node): vscode.TreeItem {
    return node.kind === "group" ? groupItem(node.origin, node.list) : taskItem(node.task);
  }

  refresh(): void {
    this.#changed.fire(undefined);
  }

  async search(): Promise<void> {
    const query = await vscode.window.showInputBox({
      title: "Search Tasks by Meaning",
      placeHolder: "For example: remove duplicates but keep the order",
      value: this.#query ?? "",
    });
    if (query !== undefined) {
      await this.#setQuery(query.trim() || undefined);
      await vscode.commands.executeCommand("aiAssistant.tasks.focus");
    }
  }

  async clearSearch(): Promise<void> {
    await this.#setQuery(undefined);
  }

  /** Deletes a task; the message that says so can undo it. */
  async delete({ taskId, description }: TaskSummary): Promise<void> {
    try {
      await this.#assistant.request("forget", { taskId });
      this.refresh();
      const chosen = await vscode.window.showInformationMessage(`Deleted: “${shorten(description, 60)}”.`, "Undo");
      if (chosen === "Undo") {
        await this.#assistant.request("restoreTask", { taskId });
        this.refresh();
      }
    } catch (error) {
      await showFailure(error);
    }
  }

  async import(): Promise<void> {
    try {
      const source = await chooseSource();
      if (!source) {
        return;
      }
      const done = await requestWithProgress(this.#assistant, "Importing tasks", "importTasks", { source });
      const problems = done.problems?.length ? ` First problem: ${done.problems[0] ?? ""}` : "";
      const skipped = done.skipped ? `, ${done.skipped} skipped` : "";
      void vscode.window.showInformationMessage(
        `Imported ${count(done.added, "task")}, ${done.unchanged} already known${skipped}.${problems}`,
      );
      this.refresh();
    } catch (error) {
      await showFailure(error);
    }
  }

  async export(): Promise<void> {
    const target = await vscode.window.showSaveDialog({
      title: "Export Taught Tasks",
      filters: { "JSON lines": ["jsonl"] },
      saveLabel: "Export",
    });
    if (!target) {
      return;
    }
    try {
      const done = await this.#assistant.request("exportTasks", { path: diskPath(target), origin: "taught" });
      void vscode.window.showInformationMessage(`Exported ${count(done.count, "taught task")} to ${done.path}.`);
    } catch (error) {
      await showFailure(error);
    }
  }

  dispose(): void {
    vscode.Disposable.from(this.#view, this.#changed).dispose();
  }

  async #groups(): Promise<Node[]> {
    const origins: Origin[] = ["taught", "imported", "builtin"];
    const lists = await Promise.all(origins.map((origin) => this.#assistant.request("tasks", { origin, limit: PAGE })));
    this.#view.message = "";
    return origins.flatMap((origin, index) => {
      const list = lists[index];
      return list?.tasks.length ? [{ kind: "group" as const, origin, list }] : [];
    });
  }

  async #found(query: string): Promise<Node[]> {
    const { tasks } = await this.#assistant.request("tasks", { query, limit: FOUND });
    this.#view.message = tasks.length ? `Closest to “${shorten(query, 40)}”` : "";
    return tasks.map(asNode);
  }

  async #setQuery(query: string | undefined): Promise<void> {
    this.#query = query;
    await vscode.commands.executeCommand("setContext", "aiAssistant.tasks.searching", query !== undefined);
    this.refresh();
  }
}

function asNode(task: TaskSummary): Node {
  return { kind: "task", task };
}

function groupItem(origin: Origin, { tasks, total }: TaskList): vscode.TreeItem {
  const { label, icon } = ORIGINS[origin];
  const state =
    origin === "taught" ? vscode.TreeItemCollapsibleState.Expanded : vscode.TreeItemCollapsibleState.Collapsed;
  const item = new vscode.TreeItem(label, state);
  item.id = origin;
  item.description = tasks.length < total ? `${tasks.length} of ${total}; search finds the others` : `${total}`;
  item.iconPath = new vscode.ThemeIcon(icon);
  return item;
}

function taskItem(task: TaskSummary): vscode.TreeItem {
  const item = new vscode.TreeItem(shorten(task.description, 120));
  const similarity = task.similarity === undefined ? "" : formatSimilarity(task.similarity);
  item.contextValue = "task";
  item.description = similarity || (task.verified ? "verified" : "");
  item.tooltip = new vscode.MarkdownString().appendText(
    `${task.description}\n\n${ORIGINS[task.origin].label}, ${new Date(task.createdAt).toLocaleDateString()}`,
  );
  item.iconPath = new vscode.ThemeIcon(task.similarity === undefined ? "symbol-method" : ORIGINS[task.origin].icon);
  item.command = { command: "aiAssistant.tasks.open", title: "Open", arguments: [task.taskId] };
  return item;
}

/** Asks where tasks come from: a file or folder, the benchmark that comes with a set, or a hub. */
async function chooseSource(): Promise<string | undefined> {
  const chosen = await vscode.window.showQuickPick(
    [
      { label: "$(file) A file…", detail: "JSON lines, as written by Export Tasks, or Python", source: "file" },
      {
        label: "$(folder) A folder…",
        detail: "Python files, whose documented functions become tasks, or a data set",
        source: "folder",
      },
      { label: "$(library) HumanEval", detail: "164 solved Python tasks of the model set", source: "humaneval" },
      { label: "$(cloud) A data set of a hub…", detail: "hub:OWNER/NAME; needs a network", source: "hub" },
    ],
    { title: "Import Tasks From" },
  );
  if (chosen?.source === "file" || chosen?.source === "folder") {
    const kind =
      chosen.source === "file"
        ? { filters: { "Solved tasks": ["jsonl", "gz", "py"] } }
        : { canSelectFiles: false, canSelectFolders: true };
    const [place] = (await vscode.window.showOpenDialog({ title: "Import Tasks", openLabel: "Import", ...kind })) ?? [];
    return place && diskPath(place);
  }
  if (chosen?.source === "hub") {
    const name = await vscode.window.showInputBox({
      title: "Import Tasks From a Hub",
      placeHolder: "OWNER/NAME",
      validateInput: (text) => (/^[\w.-]+\/[\w.-]+$/.test(text) && !isAbsolute(text) ? undefined : "OWNER/NAME"),
    });
    return name && `hub:${name}`;
  }
  return chosen?.source;
}

/** @throws Error for a place that only the editor can reach, such as a virtual workspace's. */
function diskPath(place: vscode.Uri): string {
  if (place.scheme !== "file") {
    throw new Error(`Tasks are read from and written to files on disk, which ${place.toString(true)} is not.`);
  }
  return place.fsPath;
}
