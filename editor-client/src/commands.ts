/** Every command of the extension, and what it does. */

import * as vscode from "vscode";

import type { Answering } from "./answering";
import type { Assistant } from "./assistant";
import type { Backend } from "./backend";
import type { CommentToCode } from "./commentToCode";
import type { Conversation } from "./conversation";
import { showConversations } from "./conversations";
import { pythonEditor, selectionContext } from "./editorContext";
import type { FirstRun } from "./firstRun";
import { showFailure } from "./messages";
import type { Panel } from "./panel";
import { requestWithProgress } from "./progress";
import type { TaskSummary } from "./protocol";
import type { LanguageServer } from "./server";
import { SECTION } from "./settings";
import type { StatusBar } from "./statusBar";
import type { TaskFiles } from "./taskFiles";
import type { Node, TasksView } from "./tasksView";
import type { Teaching } from "./teaching";

export interface Parts {
  answering: Answering;
  assistant: Assistant;
  backend: Backend;
  commentToCode: CommentToCode;
  conversation: Conversation;
  firstRun: FirstRun;
  log: vscode.LogOutputChannel;
  panel: Panel;
  server: LanguageServer;
  statusBar: StatusBar;
  taskFiles: TaskFiles;
  tasksView: TasksView;
  teaching: Teaching;
}

type Handler = (...args: never[]) => unknown;

/** Registers the commands; a failure of any of them is shown with what helps. */
export function registerCommands(parts: Parts): vscode.Disposable {
  const handlers = {
    ...editorCommands(parts),
    ...previewCommands(parts),
    ...taskCommands(parts),
    ...careCommands(parts),
  };
  const registrations = Object.entries(handlers).map(([name, handler]) =>
    vscode.commands.registerCommand(`aiAssistant.${name}`, guarded(handler)),
  );
  return vscode.Disposable.from(...registrations);
}

function guarded(handler: Handler): (...args: never[]) => Promise<void> {
  return async (...args) => {
    try {
      await handler(...args);
    } catch (error) {
      await showFailure(error);
    }
  };
}

function editorCommands({
  answering,
  assistant,
  commentToCode,
  conversation,
  panel,
  teaching,
}: Parts): Record<string, Handler> {
  return {
    explainSelection: () =>
      withSelection("explain", async (editor) => {
        const context = selectionContext(editor);
        await panel.reveal({ type: "focus", on: "input" });
        if (context) {
          await answering.explain(context);
        }
      }),
    ask: () => panel.reveal({ type: "focus", on: "input" }),
    generateFromComment: async () => {
      const editor = pythonEditor();
      if (editor && vscode.workspace.fs.isWritableFileSystem(editor.document.uri.scheme) === false) {
        await vscode.window.showInformationMessage("Read-only: no code can be inserted here.");
      } else if (editor) {
        await commentToCode.fromEditor(editor);
      }
    },
    teachSelection: () =>
      withSelection("teach", async (editor) => {
        teaching.fromSelection(editor);
        await panel.reveal({ type: "focus", on: "draft" });
      }),
    newConversation: async () => {
      conversation.clear();
      await panel.reveal({ type: "focus", on: "input" });
    },
    showConversations: () => showConversations(assistant, conversation),
    stop: () => {
      answering.stop();
    },
  };
}

function previewCommands({ commentToCode, teaching }: Parts): Record<string, Handler> {
  return {
    acceptGenerated: () => commentToCode.accept(),
    rejectGenerated: () => commentToCode.reject(),
    copyGenerated: () => commentToCode.copy(),
    generateAgain: () => commentToCode.replace(),
    teachCorrected: (entryId: string) => teaching.corrected(entryId),
  };
}

function taskCommands({ taskFiles, tasksView }: Parts): Record<string, Handler> {
  return {
    manageTasks: () => vscode.commands.executeCommand("aiAssistant.tasks.focus"),
    "tasks.open": (task: string | Node) => taskFiles.open(typeof task === "string" ? task : taskOf(task).taskId),
    "tasks.delete": (node: Node) => tasksView.delete(taskOf(node)),
    "tasks.search": () => tasksView.search(),
    "tasks.clearSearch": () => tasksView.clearSearch(),
    "tasks.refresh": () => {
      tasksView.refresh();
    },
    "tasks.import": () => tasksView.import(),
    "tasks.export": () => tasksView.export(),
  };
}

function careCommands({ assistant, backend, firstRun, log, server, statusBar }: Parts): Record<string, Handler> {
  return {
    showStatus: () => statusBar.showDetails(),
    loadModels: async () => {
      await requestWithProgress(assistant, "Loading the models", "models", { action: "load" });
    },
    unloadModels: async () => {
      await requestWithProgress(assistant, "Unloading the models", "models", { action: "unload" });
      void vscode.window.showInformationMessage("The models are unloaded. The next request loads what it needs.");
    },
    restart: () => server.restart(),
    showLogs: () => {
      log.show();
    },
    runDoctor: () => runDoctor(backend),
    setUp: () => firstRun.setUp(),
    chooseModelSet: () => firstRun.chooseModelSet(),
    openWalkthrough: () => firstRun.openWalkthrough(),
    openInterpreterSetting: () =>
      vscode.commands.executeCommand("workbench.action.openSettings", `${SECTION}.interpreter`),
  };
}

async function runDoctor(backend: Backend): Promise<void> {
  const options = { location: vscode.ProgressLocation.Window, title: "Running the doctor" };
  const content = await vscode.window.withProgress(options, () => backend.doctor());
  const document = await vscode.workspace.openTextDocument({ content, language: "plaintext" });
  await vscode.window.showTextDocument(document, { preview: true });
}

async function withSelection(what: string, action: (editor: vscode.TextEditor) => Promise<void>): Promise<void> {
  const editor = pythonEditor();
  if (editor && !editor.selection.isEmpty) {
    await action(editor);
  } else {
    await vscode.window.showInformationMessage(`Select the Python code to ${what} first.`);
  }
}

function taskOf(node: Node): TaskSummary {
  if (node.kind !== "task") {
    throw new Error("Choose a task.");
  }
  return node.task;
}
