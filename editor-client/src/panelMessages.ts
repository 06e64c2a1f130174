/** What the extension and its panel say to each other: types only. */

import type { Remedy } from "./errors";
import type { Answer, Intent, Range, TaskMatch } from "./protocol";

/** Code that a question is about. */
export interface CodeContext {
  /** Empty when it is known only from a stored conversation. */
  uri: string;
  range?: Range;
  /** For example `sample.py:3–9`. */
  label: string;
}

/** How a question was put, so that it can be put again. */
export type Origination =
  | { kind: "ask"; intent?: Intent; force?: boolean }
  | { kind: "explain" }
  | { kind: "comment"; force?: boolean }
  | { kind: "stored" };

export interface Progress {
  message: string;
  /** 0 to 100. */
  percentage?: number;
}

/** A question and all that became of it. */
export interface Entry {
  id: string;
  question: string;
  origination: Origination;
  context?: CodeContext;
  state: "working" | "done" | "stopped" | "failed";
  /** The answer as far as it has come. */
  text: string;
  progress?: Progress;
  answer?: Answer;
  problem?: { message: string; remedies: Remedy[] };
  /** What became of code that was generated for a comment, or of an unknown task. */
  decision?: "pending" | "accepted" | "rejected" | "refused" | "dismissed" | "taught";
}

/** A task that is about to be taught. */
export interface Draft {
  description: string;
  implementation: string;
  tests: string;
  /** Stored tasks that resemble the description. */
  similar: TaskMatch[];
  problem?: string;
  saving?: boolean;
}

export interface PanelStatus {
  summary: string;
  kind: "ok" | "busy" | "warning" | "error";
  /** What has to be done before anything can be answered. */
  remedy?: Remedy;
}

export interface PanelState {
  title?: string;
  entries: Entry[];
  draft?: Draft;
  status: PanelStatus;
  /** The selection that the next question will be about. */
  selection?: string;
}

export type ToPanel =
  | { type: "state"; state: PanelState }
  | { type: "entry"; entry: Entry }
  | { type: "text"; id: string; text: string }
  | { type: "draft"; draft?: Draft }
  | { type: "status"; status: PanelStatus }
  | { type: "selection"; selection?: string }
  | { type: "focus"; on: "input" | "draft" }
  | { type: "reveal"; id: string };

export type FromPanel =
  | { type: "ready" }
  | { type: "ask"; query: string; withSelection: boolean }
  | { type: "stop"; id: string }
  | { type: "stopAll" }
  | { type: "again"; id: string; intent?: Intent; force?: boolean }
  | { type: "copy"; text: string }
  | { type: "insert"; text: string }
  | { type: "openTask"; taskId: string }
  | { type: "openContext"; id: string }
  | { type: "accept" }
  | { type: "reject" }
  | { type: "dismiss"; id: string }
  | { type: "teach"; id: string }
  | { type: "draftChanged"; description: string; implementation: string; tests: string }
  | { type: "draftFromSelection" }
  | { type: "draftCancel" }
  | { type: "draftSave"; description: string; implementation: string; tests: string }
  | { type: "command"; command: string };
