/** Entry point: puts the parts together. */

import * as vscode from "vscode";

import { Answering } from "./answering";
import { Assistant } from "./assistant";
import { Backend } from "./backend";
import { CommentToCode } from "./commentToCode";
import { registerCommands } from "./commands";
import { Conversation, type Change, type SavedConversation } from "./conversation";
import { Corrections } from "./corrections";
import { FirstRun } from "./firstRun";
import { Judging } from "./judging";
import { showFailure } from "./messages";
import { Panel } from "./panel";
import { PanelActions } from "./panelActions";
import { Preview } from "./preview";
import { LanguageServer } from "./server";
import { serverCommands } from "./serverCommands";
import { needsRestart } from "./settings";
import { StatusBar } from "./statusBar";
import { withoutPreviews } from "./synchronisation";
import { TaskFiles } from "./taskFiles";
import { TasksView } from "./tasksView";
import { Teaching } from "./teaching";

const SAVED = "aiAssistant.conversation";

let server: LanguageServer | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel("AI CodeGen Assistant", { log: true });
  const backend = new Backend(context, log);
  server = new LanguageServer(backend, context, log, { ...serverCommands, ...withoutPreviews });
  const assistant = new Assistant(server);
  const statusBar = new StatusBar(server, assistant);
  const changes = new vscode.EventEmitter<Change>();
  const conversation = new Conversation((change) => {
    changes.fire(change);
  });
  const panel = new Panel(context.extensionUri);
  const preview = new Preview();
  const corrections = new Corrections();
  const answering = new Answering(assistant, conversation, log);
  const showPanel = (id: string): Promise<void> => panel.reveal({ type: "reveal", id });
  const judging = new Judging(assistant, conversation, log);
  const commentToCode = new CommentToCode({ answering, conversation, preview, corrections, judging, showPanel });
  const teaching = new Teaching({ assistant, conversation, corrections, judging });
  const taskFiles = new TaskFiles(assistant);
  const running = (): boolean => server?.state === "running";
  const tasksView = new TasksView(assistant, running);
  const firstRun = new FirstRun({ server, backend, assistant, log });
  const panelActions = new PanelActions({
    panel,
    conversation,
    answering,
    commentToCode,
    teaching,
    taskFiles,
    statusBar,
  });

  conversation.restore(context.workspaceState.get<SavedConversation>(SAVED, { entries: [] }));
  context.subscriptions.push(
    ...[log, server, assistant, statusBar, changes, panel, preview, corrections, teaching, taskFiles, tasksView],
    panelActions,
    registerCommands({
      ...{ answering, assistant, backend, commentToCode, conversation, firstRun, log, panel, server, statusBar },
      ...{ taskFiles, tasksView, teaching },
    }),
    changes.event((change) => {
      panelActions.show(change);
      if (change.kind === "all" || change.kind === "entry") {
        statusBar.setWorking(conversation.working);
        void context.workspaceState.update(SAVED, conversation.save());
      }
    }),
    server.onDidChangeState((state) => {
      void vscode.commands.executeCommand("setContext", "aiAssistant.ready", state === "running");
      tasksView.refresh();
    }),
    ...[teaching.onDidTeach, taskFiles.onDidSave].map((event) =>
      event(() => {
        tasksView.refresh();
      }),
    ),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (needsRestart(event)) {
        void server?.restart().catch(showFailure);
      }
    }),
  );
  void server
    .start()
    .then(() => firstRun.greet())
    .catch(showFailure);
}

export async function deactivate(): Promise<void> {
  await server?.stop();
}
