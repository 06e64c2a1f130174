/** Data folders for scenarios: the starter set's, or an empty one. */

import { execFile } from "node:child_process";
import { cpSync, linkSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { PYTHON, STARTER_HOME } from "./places.ts";

const run = promisify(execFile);

/** Copies the starter home; model files are hard links, since nobody writes to them. */
export function copyStarterHome(target: string): string {
  for (const entry of readdirSync(STARTER_HOME)) {
    if (entry === "models") {
      linkTree(join(STARTER_HOME, entry), join(target, entry));
    } else if (entry !== "run" && entry !== "logs") {
      cpSync(join(STARTER_HOME, entry), join(target, entry), {
        recursive: true,
      });
    }
  }
  return target;
}

/** Runs the command line against a data folder and returns what it printed. */
export async function cli(home: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(PYTHON, ["-m", "ai_codegen_assistant", "--home", home, ...args]);
  return stdout;
}

/** What has been taught, as JSON lines. */
export async function taughtTasks(home: string): Promise<string> {
  const file = join(home, "taught.jsonl");
  await cli(home, "tasks", "export", file, "--origin", "taught");
  return readFileSync(file, "utf8");
}

function linkTree(source: string, target: string): void {
  mkdirSync(target, { recursive: true });
  for (const name of readdirSync(source)) {
    const [from, to] = [join(source, name), join(target, name)];
    if (statSync(from).isDirectory()) {
      linkTree(from, to);
    } else {
      linkSync(from, to);
    }
  }
}
