/** Turns failures into a sentence and the commands that help. Pure. */

export interface Remedy {
  title: string;
  command: string;
}

export interface Failure {
  message: string;
  cancelled: boolean;
  remedies: Remedy[];
}

const SHOW_LOGS: Remedy = { title: "Show Logs", command: "aiAssistant.showLogs" };
const DOCTOR: Remedy = { title: "Run Doctor", command: "aiAssistant.runDoctor" };
const RESTART: Remedy = { title: "Restart", command: "aiAssistant.restart" };
const CHOOSE_SET: Remedy = { title: "Choose Model Set…", command: "aiAssistant.chooseModelSet" };
const SET_UP: Remedy = { title: "Set Up…", command: "aiAssistant.setUp" };

/** Remedies by the code that the server gives an error. */
const REMEDIES: Partial<Record<string, Remedy[]>> = {
  modelMissing: [CHOOSE_SET],
  modelDamaged: [CHOOSE_SET, DOCTOR],
  outOfMemory: [CHOOSE_SET, { title: "Unload Models", command: "aiAssistant.unloadModels" }],
  downloadFailed: [CHOOSE_SET, SHOW_LOGS],
  engineUnavailable: [RESTART, SHOW_LOGS, DOCTOR],
  storageFailed: [SHOW_LOGS, DOCTOR],
  notSetUp: [SET_UP],
  // Nothing helps but reading and trying again.
  engineBusy: [],
  notFound: [],
  rejectedTask: [],
  invalidParams: [],
  contextTooLong: [],
};

const REQUEST_CANCELLED = -32800;
const SERVER_CANCELLED = -32802;
const CONNECTION_LOST = [-32097, -32096, -32099];

const LOST = "The language server ended while it was answering. It is being started again; please ask again.";

/** The assistant has no backend to talk to yet. */
export class NotSetUp extends Error {
  readonly data = { code: "notSetUp" };

  constructor() {
    super("The assistant is not set up yet: it needs a Python environment of its own.");
  }
}

/** Describes whatever a request was rejected with. */
export function describeFailure(error: unknown): Failure {
  const fields = typeof error === "object" && error !== null ? (error as { code?: unknown; data?: unknown }) : {};
  const data = typeof fields.data === "object" && fields.data !== null ? (fields.data as { code?: unknown }) : {};
  const code = typeof data.code === "string" ? data.code : undefined;
  const cancelled =
    fields.code === REQUEST_CANCELLED ||
    (fields.code === SERVER_CANCELLED && code === undefined) ||
    code === "cancelled";
  const lost = CONNECTION_LOST.includes(Number(fields.code));
  const message = lost ? LOST : error instanceof Error ? error.message : String(error);
  return { message, cancelled, remedies: REMEDIES[code ?? ""] ?? [SHOW_LOGS] };
}
