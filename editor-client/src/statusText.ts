/** Says in the status bar how things stand. Pure. */

import type { Remedy } from "./errors";
import type { ModelInfo, Status } from "./protocol";
import { count, formatBytes } from "./text";

export type ServerState = "notSetUp" | "stopped" | "starting" | "running" | "failed";

export interface StatusText {
  /** With `$(icon)` marks of VS Code. */
  text: string;
  /** One sentence without marks, for the panel and for screen readers. */
  summary: string;
  kind: "ok" | "busy" | "warning" | "error";
  /** What has to be done before anything can be answered. */
  remedy?: Remedy;
}

// No icon spins: each frame of it is painted by the thread that also paints what a person types.
const NAME = "AI";
const SET_UP: Remedy = { title: "Set Up the Assistant", command: "aiAssistant.setUp" };
const CHOOSE_MODELS: Remedy = { title: "Choose the Models", command: "aiAssistant.chooseModelSet" };

/**
 * Describes the server's state and, once it runs, the engine's last status.
 *
 * @param working Whether this window waits for an answer, which the engine may not count yet.
 */
export function describeStatus(server: ServerState, status: Status | undefined, working = false): StatusText {
  switch (server) {
    case "notSetUp":
      return { text: `$(rocket) ${NAME}: set up`, summary: "Not set up yet", kind: "warning", remedy: SET_UP };
    case "stopped":
      return { text: `$(circle-slash) ${NAME}: stopped`, summary: "Stopped", kind: "warning" };
    case "failed":
      return { text: `$(error) ${NAME}: error`, summary: "The language server has ended", kind: "error" };
    case "starting":
      return { text: `$(watch) ${NAME}: starting`, summary: "Starting", kind: "busy" };
    case "running":
      return status ? describeEngine(status, working) : starting();
  }
}

/** Lists the details, one line each, as `name: value`. */
export function statusDetails(status: Status): { label: string; value: string }[] {
  const { engine, knowledge, memory, queue } = status;
  const device = memory.deviceTotal
    ? ` · device ${formatBytes(memory.deviceUsed ?? 0)} of ${formatBytes(memory.deviceTotal)}`
    : "";
  const waiting = queue.waiting ? `${queue.waiting} waiting` : "nothing waiting";
  return [
    ...status.models.map((model) => ({ label: roleName(model), value: describeModel(model) })),
    { label: "Queue", value: `${queue.running ? `running ${queue.running}, ` : ""}${waiting}` },
    {
      label: "Knowledge",
      value: [count(knowledge.count, "task"), knowledge.state, knowledge.detail].filter(Boolean).join(" · "),
    },
    { label: "Memory", value: `engine ${formatBytes(memory.process)}${device}` },
    {
      label: "Engine",
      value: engine.pid
        ? `${engine.version} · process ${engine.pid} · ${count(engine.clients ?? 1, "client")}`
        : [engine.state, engine.detail].filter(Boolean).join(": "),
    },
  ];
}

function describeEngine(status: Status, working: boolean): StatusText {
  if (status.engine.state === "starting") {
    return starting();
  }
  if (status.engine.state === "stopped") {
    const why = status.engine.detail ?? "it starts with the next request";
    return { text: `$(error) ${NAME}: engine stopped`, summary: `The engine has stopped: ${why}`, kind: "error" };
  }
  if (status.models.some((model) => model.installed === false)) {
    const summary = "The models are not installed yet";
    return { text: `$(cloud-download) ${NAME}: no models`, summary, kind: "warning", remedy: CHOOSE_MODELS };
  }
  const loading = status.models.find((model) => model.state === "loading");
  if (loading) {
    return describeLoading(loading);
  }
  const running = status.models.find((model) => model.state === "running" && model.role !== "embed");
  if (running) {
    return describeRunning(running);
  }
  const failed = status.models.find((model) => model.state === "failed");
  if (failed) {
    const why = failed.detail ? `: ${failed.detail}` : "";
    return { text: `$(error) ${NAME}: model failed`, summary: `${failed.name} failed${why}`, kind: "error" };
  }
  if (status.knowledge.state === "failed") {
    const why = status.knowledge.detail ?? "the store of tasks cannot be used";
    return { text: `$(warning) ${NAME}`, summary: `Knowledge: ${why}`, kind: "warning" };
  }
  if (status.knowledge.state === "rebuilding") {
    const what = status.knowledge.detail ?? "Indexing the stored tasks";
    return { text: `$(watch) ${NAME}: indexing`, summary: what, kind: "busy" };
  }
  if (working || status.queue.waiting || status.queue.running) {
    return { text: `$(pulse) ${NAME}: thinking`, summary: "Thinking", kind: "busy" };
  }
  const resident = status.models.filter((model) => model.state === "ready" && model.role !== "embed");
  const names = [...new Set(resident.map(shortName))];
  return names.length
    ? { text: `$(sparkle) ${NAME}: ready`, summary: `Ready: ${names.join(", ")}`, kind: "ok" }
    : { text: `$(sparkle) ${NAME}: idle`, summary: "Idle: models load when they are needed", kind: "ok" };
}

function describeLoading(model: ModelInfo): StatusText {
  const percent = model.progress === undefined ? "" : ` ${Math.round(model.progress * 100)} %`;
  return {
    text: `$(arrow-up) ${NAME}: loading${percent}`,
    summary: `Loading ${shortName(model)}${percent}`,
    kind: "busy",
  };
}

function describeRunning(model: ModelInfo): StatusText {
  const speed = model.tokensPerSecond ? `${model.tokensPerSecond.toFixed(1)} tokens/s` : "thinking";
  return {
    text: `$(pulse) ${NAME}: ${speed}`,
    summary: `${shortName(model)} is answering (${speed})`,
    kind: "busy",
  };
}

function describeModel(model: ModelInfo): string {
  const size = model.bytes ? formatBytes(model.bytes) : undefined;
  const progress = model.progress === undefined ? undefined : `${Math.round(model.progress * 100)} %`;
  const state = model.installed === false ? "not installed" : model.state;
  const shown = model.state === "loading" ? progress : undefined;
  return [shortName(model), state, shown, model.device, model.dtype, size, model.detail].filter(Boolean).join(" · ");
}

function roleName(model: ModelInfo): string {
  return { explain: "Explain", generate: "Generate", embed: "Embed" }[model.role];
}

function shortName(model: ModelInfo): string {
  return model.name.split("/").at(-1) ?? model.name;
}

function starting(): StatusText {
  return { text: `$(watch) ${NAME}: starting`, summary: "The engine is starting", kind: "busy" };
}
