/** The conversation's webview: a page without network, fed by messages. */

import { randomBytes } from "node:crypto";
import * as vscode from "vscode";

import type { FromPanel, ToPanel } from "./panelMessages";

const VIEW = "aiAssistant.conversation";

export class Panel implements vscode.WebviewViewProvider, vscode.Disposable {
  readonly #extension: vscode.Uri;
  readonly #received = new vscode.EventEmitter<FromPanel>();
  readonly #registration: vscode.Disposable;
  #view: vscode.WebviewView | undefined;
  #ready = false;
  #waiting: ToPanel[] = [];

  readonly onMessage = this.#received.event;

  constructor(extension: vscode.Uri) {
    this.#extension = extension;
    this.#registration = vscode.window.registerWebviewViewProvider(VIEW, this);
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    this.#view = view;
    const folder = vscode.Uri.joinPath(this.#extension, "dist");
    view.webview.options = { enableScripts: true, localResourceRoots: [folder] };
    view.webview.onDidReceiveMessage((message: FromPanel) => {
      this.#receive(message);
    });
    view.onDidDispose(() => {
      this.#view = undefined;
      this.#ready = false;
    });
    view.onDidChangeVisibility(() => {
      // A hidden page is thrown away; it asks for everything when it comes back.
      this.#ready &&= view.visible;
    });
    view.webview.html = page(view.webview, folder);
  }

  /** Sends a message; while the page is not there it is dropped, since the page asks for all state. */
  post(message: ToPanel): void {
    if (this.#ready) {
      void this.#view?.webview.postMessage(message);
    }
  }

  /** Brings the panel to the front and then sends a message that concerns only what is seen. */
  async reveal(message: ToPanel): Promise<void> {
    this.#waiting = [message];
    await vscode.commands.executeCommand(`${VIEW}.focus`);
    this.#flush();
  }

  dispose(): void {
    vscode.Disposable.from(this.#registration, this.#received).dispose();
  }

  #receive(message: FromPanel): void {
    if (message.type === "ready") {
      this.#ready = true;
    }
    this.#received.fire(message);
    if (message.type === "ready") {
      this.#flush();
    }
  }

  #flush(): void {
    if (this.#ready) {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const message of waiting) {
        this.post(message);
      }
    }
  }
}

/** The page may run its own script and use its own styles, and reach nothing else. */
function page(webview: vscode.Webview, folder: vscode.Uri): string {
  const nonce = randomBytes(18).toString("base64");
  const script = webview.asWebviewUri(vscode.Uri.joinPath(folder, "panel.js")).toString();
  const style = webview.asWebviewUri(vscode.Uri.joinPath(folder, "panel.css")).toString();
  const policy = `default-src 'none'; style-src ${webview.cspSource}; script-src 'nonce-${nonce}'`;
  return `<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta http-equiv="Content-Security-Policy" content="${policy}">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <link rel="stylesheet" href="${style}">
    <title>Conversation</title>
  </head>
  <body>
    <div id="app"></div>
    <script nonce="${nonce}" src="${script}"></script>
  </body>
</html>`;
}
