/** The language server's life: started, watched, restarted with a limit, stopped. */

import { mkdir } from "node:fs/promises";
import * as vscode from "vscode";
import type {
  ErrorHandler,
  LanguageClient,
  LanguageClientOptions,
  Middleware,
  ServerOptions,
} from "vscode-languageclient/node";

import type { Backend } from "./backend";
import { DOCUMENTS } from "./editorContext";
import { NotSetUp } from "./errors";
import { RestartPolicy } from "./restartPolicy";
import { environment, SECTION } from "./settings";
import type { Status } from "./protocol";
import type { ServerState } from "./statusText";

type Library = typeof import("./languageClient");

export interface TokensParams {
  streamId: string;
  text: string;
}

/** Owns the one language client of this window. */
export class LanguageServer implements vscode.Disposable {
  readonly #backend: Backend;
  readonly #storage: vscode.Uri;
  readonly #log: vscode.LogOutputChannel;
  readonly #middleware: Middleware;
  readonly #policy = new RestartPolicy();
  readonly #stateChanged = new vscode.EventEmitter<ServerState>();
  readonly #statusChanged = new vscode.EventEmitter<Status>();
  readonly #tokens = new vscode.EventEmitter<TokensParams>();
  #client: LanguageClient | undefined;
  #state: ServerState = "stopped";
  #turn: Promise<void> = Promise.resolve();

  readonly onDidChangeState = this.#stateChanged.event;
  readonly onDidChangeStatus = this.#statusChanged.event;
  readonly onTokens = this.#tokens.event;

  constructor(
    backend: Backend,
    context: vscode.ExtensionContext,
    log: vscode.LogOutputChannel,
    middleware: Middleware,
  ) {
    this.#backend = backend;
    this.#storage = context.globalStorageUri;
    this.#log = log;
    this.#middleware = middleware;
  }

  get state(): ServerState {
    return this.#state;
  }

  /** Starts the server unless it runs; calls that come together share one start. */
  start(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#state !== "running") {
        await this.#start();
      }
    });
  }

  restart(): Promise<void> {
    this.#policy.reset();
    return this.#inTurn(async () => {
      await this.#stop();
      await this.#start();
    });
  }

  stop(): Promise<void> {
    return this.#inTurn(() => this.#stop());
  }

  /**
   * Returns the running client, after starting it if need be.
   *
   * @throws NotSetUp when there is no backend to start.
   */
  async client(): Promise<LanguageClient> {
    await this.start();
    if (!this.#client || this.#state !== "running") {
      throw this.#state === "notSetUp" ? new NotSetUp() : new Error("The language server is not running.");
    }
    return this.#client;
  }

  dispose(): void {
    this.#stateChanged.dispose();
    this.#statusChanged.dispose();
    this.#tokens.dispose();
  }

  /** Runs one transition after the other. */
  #inTurn(transition: () => Promise<void>): Promise<void> {
    const next = this.#turn.then(transition);
    this.#turn = next.catch(() => undefined);
    return next;
  }

  async #start(): Promise<void> {
    this.#setState("starting");
    const interpreter = await this.#backend.interpreter();
    if (!interpreter) {
      this.#setState("notSetUp");
      return;
    }
    await mkdir(this.#storage.fsPath, { recursive: true });
    const client = await this.#newClient(interpreter);
    this.#client = client;
    try {
      await client.start();
    } catch (error) {
      this.#client = undefined;
      this.#setState("failed");
      throw error;
    }
    this.#setState("running");
  }

  async #stop(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    if (client?.isRunning()) {
      await client.stop();
    }
    await client?.dispose();
    this.#setState("stopped");
  }

  async #newClient(interpreter: string): Promise<LanguageClient> {
    const library = await import("./languageClient");
    const client = new library.LanguageClient(SECTION, "AI CodeGen Assistant", this.#serverOptions(interpreter), {
      documentSelector: DOCUMENTS,
      outputChannel: this.#log,
      middleware: this.#middleware,
      errorHandler: this.#errorHandler(library),
    } satisfies LanguageClientOptions);
    client.onNotification("assistant/tokens", (params: TokensParams) => {
      this.#tokens.fire(params);
    });
    client.onNotification("assistant/stateChanged", (status: Status) => {
      this.#statusChanged.fire(status);
    });
    return client;
  }

  /**
   * Starts Python outside the workspace and with a safe module path, so that files of an
   * untrusted workspace can never be imported.
   */
  #serverOptions(interpreter: string): ServerOptions {
    return {
      command: interpreter,
      args: ["-P", "-m", "ai_codegen_assistant", "serve"],
      options: { cwd: this.#storage.fsPath, env: environment() },
    };
  }

  /** The client never restarts the server by itself: a restart is a start like any other. */
  #errorHandler({ CloseAction, ErrorAction }: Library): ErrorHandler {
    return {
      error: () => ({ action: ErrorAction.Continue }),
      closed: () => {
        if (this.#state === "running") {
          this.#recover();
        }
        return { action: CloseAction.DoNotRestart, handled: true };
      },
    };
  }

  #recover(): void {
    const again = this.#policy.allows(Date.now());
    this.#client = undefined;
    this.#setState(again ? "starting" : "failed");
    this.#log.error(`The language server ended by itself; ${again ? "starting it again" : "giving up"}.`);
    if (again) {
      void explain(
        "The assistant's language server ended unexpectedly and is being started again. What it was answering is lost.",
        ["aiAssistant.showLogs"],
      );
      void this.#inTurn(() => this.#start()).catch((error: unknown) => {
        this.#log.error(String(error));
        this.#recover();
      });
    } else {
      void explain(
        "The assistant's language server ended five times within three minutes, so it is not started again. Its log says why.",
        ["aiAssistant.restart", "aiAssistant.showLogs", "aiAssistant.runDoctor"],
      );
    }
  }

  #setState(state: ServerState): void {
    if (this.#state !== state) {
      this.#state = state;
      this.#stateChanged.fire(state);
    }
  }
}

const TITLES: Record<string, string> = {
  "aiAssistant.restart": "Restart",
  "aiAssistant.showLogs": "Show Logs",
  "aiAssistant.runDoctor": "Run Doctor",
};

async function explain(message: string, commands: string[]): Promise<void> {
  const items = commands.map((command) => ({ title: TITLES[command] ?? command, command }));
  const chosen = await vscode.window.showErrorMessage(message, ...items);
  if (chosen) {
    await vscode.commands.executeCommand(chosen.command);
  }
}
