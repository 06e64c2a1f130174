/** The assistant's own processes, found by what they were started with. Linux only. */

import { readdirSync, readFileSync } from "node:fs";

/** Process ids of the engines of a data folder. */
export function engines(home: string): number[] {
  return processes((words) => words.includes("engine") && words.includes(home));
}

/** Process ids of the language servers of a data folder. */
export function servers(home: string): number[] {
  return processes((words, environment) => words.includes("serve") && environment.includes(`AI_CODEGEN_HOME=${home}`));
}

/** Process ids of the assistant's processes that `matches` accepts. */
function processes(matches: (words: string[], environment: string[]) => boolean): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      const words = read(`/proc/${name}/cmdline`);
      return words.includes("ai_codegen_assistant") && matches(words, read(`/proc/${name}/environ`));
    })
    .map(Number);
}

/** A process may end while its files are read. */
function read(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\0");
  } catch {
    return [];
  }
}
