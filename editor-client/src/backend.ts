/** The Python environment that runs the assistant: a given one, or a private one made here. */

import { rm } from "node:fs/promises";
import { join } from "node:path";
import * as vscode from "vscode";

import { unpackWheel } from "./bundledWheel";
import { backendVersion, environmentPython, findPython, follow, MINIMUM, report } from "./python";
import { environment, readSettings, SECTION } from "./settings";

/** Finds the backend, and installs it. */
export class Backend {
  readonly #environment: string;
  readonly #bundled: string;
  readonly #log: vscode.LogOutputChannel;

  constructor(context: vscode.ExtensionContext, log: vscode.LogOutputChannel) {
    this.#environment = vscode.Uri.joinPath(context.globalStorageUri, "environment").fsPath;
    this.#bundled = vscode.Uri.joinPath(context.extensionUri, "backend").fsPath;
    this.#log = log;
  }

  /** Returns the interpreter to start, or nothing when the assistant has to be set up first. */
  async interpreter(): Promise<string | undefined> {
    const given = readSettings().interpreter;
    const python = given || environmentPython(this.#environment, process.platform);
    const version = await backendVersion(python);
    this.#log.info(`Interpreter ${python}: ${version ? `backend ${version}` : "no backend"}`);
    return version ? python : undefined;
  }

  /**
   * Makes the private environment and installs the backend that this extension brings along.
   *
   * @throws Error that says what to do when Python is missing or a step fails.
   */
  async install(report: (message: string) => void, token: vscode.CancellationToken): Promise<void> {
    const python = await findPython(process.platform);
    if (!python) {
      throw new Error(
        `No Python ${MINIMUM.join(".")} or newer was found. Install one, or choose an interpreter in the setting aiCodegenAssistant.interpreter.`,
      );
    }
    const abort = new AbortController();
    const listener = token.onCancellationRequested(() => {
      abort.abort();
    });
    try {
      report("Creating a private Python environment");
      await rm(this.#environment, { recursive: true, force: true });
      await this.#run(python.program, [...python.arguments, "-m", "venv", this.#environment], abort.signal, report);
      report("Installing the assistant");
      const wheel = await unpackWheel(this.#bundled, this.#environment);
      await this.#run(environmentPython(this.#environment, process.platform), this.#pip(wheel), abort.signal, report);
    } catch (error) {
      await rm(this.#environment, { recursive: true, force: true });
      throw error;
    } finally {
      listener.dispose();
    }
  }

  /** Runs the backend's own check of the installation and returns its report, whatever it found. */
  async doctor(): Promise<string> {
    const python = await this.interpreter();
    if (!python) {
      return "The assistant is not set up yet.";
    }
    const modelSet = vscode.workspace.getConfiguration(SECTION).get("modelSet", "starter");
    const args = ["-P", "-m", "ai_codegen_assistant", "--model-set", modelSet, "doctor"];
    return report(python, args, environment());
  }

  #pip(wheel: string): string[] {
    return [
      ...["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"],
      ...["--constraint", join(this.#bundled, "constraints.txt")],
      ...readSettings().installArguments,
      wheel,
    ];
  }

  async #run(program: string, args: string[], signal: AbortSignal, report: (message: string) => void): Promise<void> {
    this.#log.info(`${program} ${args.join(" ")}`);
    await follow(
      program,
      args,
      (line) => {
        this.#log.info(line);
        report(pipStep(line) ?? "");
      },
      signal,
    );
  }
}

/** Says in a few words what pip is doing, if the line tells. */
function pipStep(line: string): string | undefined {
  return /^\s*(Collecting \S+|Downloading \S+(?: \([^)]*\))?|Installing collected packages)/.exec(line)?.[1];
}
