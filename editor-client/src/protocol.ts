/** What the language server understands and answers: the custom requests, in wire form. */

export type Intent = "explain" | "generate";
export type Role = "explain" | "generate" | "embed";
/** What became of code that rests on a stored task. */
export type Outcome = "accepted" | "edited" | "rejected";

export type Origin = "builtin" | "taught" | "imported";
export type ModelState = "absent" | "loading" | "ready" | "running" | "evicted" | "failed";

export interface Position {
  line: number;
  character: number;
}

export interface Range {
  start: Position;
  end: Position;
}

/** A document in the state the request was made for. */
export interface DocumentVersion {
  uri: string;
  version: number;
}

export interface RouteChoice {
  intent: Intent;
  /** Similarity per intent, -1 to 1. */
  scores: Partial<Record<Intent, number>>;
  margin: number;
  sure?: boolean;
  reason?: string;
}

export interface TaskMatch {
  taskId: string;
  description: string;
  /** 0 to 1, on the scale of the threshold. */
  similarity: number;
  origin: Origin;
  reason?: string;
}

/** Milliseconds, and the speed of decoding. */
export interface Timings {
  queue?: number;
  route?: number;
  retrieve?: number;
  swap?: number;
  firstToken?: number;
  total?: number;
  tokensPerSecond?: number;
}

export interface MemoryUse {
  promptTokens: number;
  limit: number;
  summarised: number;
  omitted?: number;
  shortened?: boolean;
}

export interface Explanation {
  status: "answered";
  conversationId: string;
  text: string;
  model: string;
  memory: MemoryUse;
  timings: Timings;
  finish?: "stop" | "length";
  route?: RouteChoice;
}

export interface TextEdit {
  range: Range;
  newText: string;
}

export interface WorkspaceEdit {
  documentChanges?: { textDocument: { uri: string; version: number | null }; edits: TextEdit[] }[];
  changes?: Record<string, TextEdit[]>;
}

export interface Generation {
  status: "generated" | "unknown";
  code?: string;
  /** What grounds the code; when the task is unknown, the closest matches. */
  sources: TaskMatch[];
  threshold: number;
  grounded: boolean;
  band: "grounded" | "weak" | "unknown";
  model?: string;
  checks?: { syntax: boolean; problem?: string };
  timings: Timings;
  finish?: string;
  route?: RouteChoice;
  message?: string;
  /** The comment that was turned into code, where the request named only its place. */
  prompt?: string;
  edit?: WorkspaceEdit;
}

export type Answer = Explanation | Generation;

export interface AskParams {
  query: string;
  conversationId?: string;
  textDocument?: DocumentVersion;
  range?: Range;
  /** Overrules the router. */
  intent?: Intent;
  force?: boolean;
}

export interface ExplainParams {
  textDocument: DocumentVersion;
  range: Range;
  question?: string;
  conversationId?: string;
}

/** The comment at `position` says what to generate. */
export interface GenerateParams {
  textDocument: DocumentVersion;
  position: Position;
  force?: boolean;
}

export interface TeachParams {
  description: string;
  implementation: string;
  tests?: string;
  language?: string;
}

export interface Taught {
  taskId: string;
  similar: TaskMatch[];
  verified?: boolean;
  /** Why the tests were not run, or with how little protection they were. */
  note?: string;
}

export interface TaskSummary {
  taskId: string;
  description: string;
  origin: Origin;
  language: string;
  /** ISO 8601, UTC. */
  createdAt: string;
  verified?: boolean;
  similarity?: number;
}

export interface TasksParams {
  query?: string;
  origin?: Origin;
  limit?: number;
}

export interface TaskList {
  tasks: TaskSummary[];
  total: number;
}

export interface TaskDetails {
  taskId: string;
  description: string;
  implementation: string;
  tests?: string;
  origin: Origin;
  language: string;
  createdAt: string;
  updatedAt: string;
  verified?: boolean;
  forgotten?: boolean;
  /** After a change, what `Taught` says about the tests. */
  note?: string;
}

export interface UpdateTaskParams {
  taskId: string;
  description?: string;
  implementation?: string;
  tests?: string;
}

export interface Imported {
  source: string;
  added: number;
  unchanged: number;
  skipped: number;
  problems?: string[];
}

export interface Exported {
  path: string;
  count: number;
}

export interface ModelInfo {
  role: Role;
  name: string;
  state: ModelState;
  installed?: boolean;
  bytes?: number;
  device?: string;
  dtype?: string;
  detail?: string;
  /** Of a load, 0 to 1. */
  progress?: number;
  tokensPerSecond?: number;
}

export interface Status {
  engine: {
    /** 0 as long as there is none. */
    pid: number;
    uptime: number;
    version: string;
    clients?: number;
    state?: "starting" | "running" | "stopped";
    detail?: string;
  };
  models: ModelInfo[];
  queue: { waiting: number; running?: string };
  knowledge: { count: number; path: string; state?: string; detail?: string };
  memory: { process: number; deviceUsed?: number; deviceTotal?: number };
}

export interface ModelSetInfo {
  name: string;
  summary: string;
  bytes: number;
  installed: boolean;
  hardware?: string;
}

export interface Models {
  models: ModelInfo[];
  sets: ModelSetInfo[];
}

export interface ModelsParams {
  action: "list" | "load" | "unload" | "pull" | "remove";
  role?: Role;
  set?: string;
}

export interface CodeSelection {
  text: string;
  name?: string;
  startLine?: number;
}

export interface Turn {
  question: string;
  answer: string;
  selection?: CodeSelection;
  createdAt: string;
  model: string;
}

export interface ConversationSummary {
  conversationId: string;
  title: string;
  turns: number;
  updatedAt: string;
}

export interface StoredConversation {
  conversationId: string;
  title: string;
  turns: Turn[];
  summary?: string;
}

/** Each request with what it takes and what it gives. */
export interface Requests {
  ask: { params: AskParams; result: Answer };
  explain: { params: ExplainParams; result: Explanation };
  generate: { params: GenerateParams; result: Generation };
  teach: { params: TeachParams; result: Taught };
  tasks: { params: TasksParams; result: TaskList };
  task: { params: { taskId: string }; result: TaskDetails };
  updateTask: { params: UpdateTaskParams; result: TaskDetails };
  forget: { params: { taskId: string }; result: TaskDetails };
  restoreTask: { params: { taskId: string }; result: TaskDetails };
  judge: { params: { query: string; taskId: string; outcome?: Outcome }; result: unknown };
  importTasks: { params: { source: string }; result: Imported };
  exportTasks: { params: { path: string; origin?: Origin }; result: Exported };
  status: { params: Record<string, never>; result: Status };
  models: { params: ModelsParams; result: Models };
  conversations: { params: { limit?: number }; result: { conversations: ConversationSummary[] } };
  conversation: { params: { conversationId: string }; result: StoredConversation };
  forgetConversation: { params: { conversationId: string }; result: unknown };
}

export type Method = keyof Requests;
