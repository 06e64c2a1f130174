/** The settings that only the editor's side needs. */

import * as vscode from "vscode";

export const SECTION = "aiCodegenAssistant";

export interface ClientSettings {
  interpreter: string;
  dataFolder: string;
  installArguments: string[];
}

export function readSettings(): ClientSettings {
  const section = vscode.workspace.getConfiguration(SECTION);
  return {
    interpreter: section.get("interpreter", "").trim(),
    dataFolder: section.get("dataFolder", "").trim(),
    installArguments: section.get<string[]>("installArguments", []),
  };
}

/** The environment of the assistant's processes: the editor's, and where the data are. */
export function environment(): NodeJS.ProcessEnv {
  const { dataFolder } = readSettings();
  return { ...process.env, ...(dataFolder && { AI_CODEGEN_HOME: dataFolder }), PYTHONSAFEPATH: "1" };
}

/** Whether a change asks for a new language server rather than reaching the running one. */
export function needsRestart(event: vscode.ConfigurationChangeEvent): boolean {
  return ["interpreter", "dataFolder"].some((name) => event.affectsConfiguration(`${SECTION}.${name}`));
}
