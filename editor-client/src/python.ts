/** Finds and runs Python. Knows nothing of the editor. */

import { execFile, spawn } from "node:child_process";
import { join } from "node:path";

/** The oldest Python that the backend runs on. */
export const MINIMUM = [3, 11] as const;

/** A way to start Python: a program, and arguments that choose the version. */
export interface Launcher {
  program: string;
  arguments: string[];
}

/** Launchers worth trying, the best first. */
export function launchers(platform: NodeJS.Platform): Launcher[] {
  const minors = [13, 12, 11];
  return platform === "win32"
    ? [...minors.map((minor) => ({ program: "py", arguments: [`-3.${minor}`] })), { program: "python", arguments: [] }]
    : [...minors.map((minor) => `python3.${minor}`), "python3", "python"].map((program) => ({
        program,
        arguments: [],
      }));
}

/** Reads the answer to `python --version`. */
export function parseVersion(output: string): [number, number] | undefined {
  const found = /Python (\d+)\.(\d+)/.exec(output);
  return found ? [Number(found[1]), Number(found[2])] : undefined;
}

export function isSupported([major, minor]: readonly [number, number]): boolean {
  return major === MINIMUM[0] && minor >= MINIMUM[1];
}

/** Returns the interpreter of a virtual environment. */
export function environmentPython(folder: string, platform: NodeJS.Platform): string {
  return platform === "win32" ? join(folder, "Scripts", "python.exe") : join(folder, "bin", "python");
}

/** Returns the first launcher that starts a Python new enough. */
export async function findPython(platform: NodeJS.Platform): Promise<Launcher | undefined> {
  for (const launcher of launchers(platform)) {
    const version = parseVersion(await output(launcher.program, [...launcher.arguments, "--version"]).catch(() => ""));
    if (version && isSupported(version)) {
      return launcher;
    }
  }
  return undefined;
}

/** Returns the version of the backend that `python` has, or nothing if it has none. */
export async function backendVersion(python: string): Promise<string | undefined> {
  const script = "from importlib.metadata import version; print(version('ai-codegen-assistant'))";
  const answer = await output(python, ["-P", "-c", script]).catch(() => "");
  return answer.trim() || undefined;
}

/** Runs a program to its end and returns what it printed. */
export function output(program: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { windowsHide: true }, (error, stdout, stderr) => {
      if (error) {
        reject(new Error(stderr.trim() || error.message));
      } else {
        resolve(stdout);
      }
    });
  });
}

/**
 * Runs a program that reports what it finds and whose exit code says whether that is good.
 *
 * @throws Error with what it complained about when it reports nothing.
 */
export function report(program: string, args: string[], env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { windowsHide: true, env }, (error, stdout, stderr) => {
      if (error && !stdout.trim()) {
        reject(new Error(stderr.trim() || error.message));
      } else {
        resolve(stdout);
      }
    });
  });
}

/**
 * Runs a program line by line until it ends or `signal` ends it.
 *
 * @throws Error with what it complained about when it fails.
 */
export function follow(
  program: string,
  args: string[],
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { windowsHide: true, signal, stdio: ["ignore", "pipe", "pipe"] });
    const last: string[] = [];
    const read = (chunk: Buffer): void => {
      for (const line of chunk
        .toString()
        .split(/[\r\n]+/)
        .filter((text) => text.trim())) {
        last.push(line);
        last.splice(0, last.length - 12);
        onLine(line);
      }
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) {
        resolve();
      } else {
        reject(new Error(complaint(last) ?? `${program} ended with exit code ${code ?? "none"}.`));
      }
    });
  });
}

/** What a program complained about: the lines it called errors, else the last thing it said. */
function complaint(lines: string[]): string | undefined {
  const errors = lines.filter((line) => /^\s*error\b/i.test(line));
  return errors.length ? errors.join("\n") : lines.at(-1);
}
