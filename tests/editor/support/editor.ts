/** A real VS Code (code-server) with the real extension, and a real browser to drive it. */

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

import { cli, copyStarterHome } from "./home.ts";
import { CHROMIUM, CODE_SERVER, EXTENSIONS, NODE, PYTHON, SCREENSHOTS, VSCE, VSIX } from "./places.ts";
import { chromium, type Browser, type BrowserContext } from "./playwright.ts";
import { Window } from "./window.ts";

export interface EditorOptions {
  /** Names the screenshots. */
  scenario: string;
  /** The workspace's files; a name may have folders. */
  files: Record<string, string>;
  /** Folders that are opened side by side, of the workspace or URIs; without them it is opened as one. */
  roots?: string[];
  /** Extensions of the tests, by their folders in `extensions`, to be installed too. */
  extensions?: string[];
  /** Whether the editor asks if the workspace is to be trusted. */
  asksForTrust?: boolean;
  /** Whether the starter set is installed already. */
  starter?: boolean;
  /** Machine settings besides the interpreter and the data folder. */
  settings?: Record<string, unknown>;
  /** Environment of the editor's own process. */
  env?: Record<string, string>;
}

const USER_SETTINGS = {
  "security.workspace.trust.enabled": false,
  "workbench.startupEditor": "none",
  "workbench.tips.enabled": false,
  "telemetry.telemetryLevel": "off",
  "update.mode": "none",
  "extensions.autoUpdate": false,
  "extensions.autoCheckUpdates": false,
  "extensions.ignoreRecommendations": true,
  "chat.disableAIFeatures": true,
  "chat.commandCenter.enabled": false,
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "git.enabled": false,
  "editor.minimap.enabled": false,
  "editor.accessibilitySupport": "off",
  "files.simpleDialog.enable": true,
  "files.hotExit": "off",
  "files.autoSave": "off",
};

const WORKSPACE_FILE = "all.code-workspace";
const STARTUP = 60_000;
/** How long a person's patience lasts here: an engine starts and a model loads on a busy machine. */
const PATIENCE = 180_000;

/** One running editor with its own user data, workspace and data folder. */
export class Editor {
  readonly home: string;
  readonly workspace: string;
  readonly #base: string;
  readonly #process: ChildProcess;
  readonly #browser: Browser;
  readonly #context: BrowserContext;
  readonly #url: string;
  readonly #scenario: string;
  readonly #foreign = new Set<string>();
  #shots = 0;

  private constructor(parts: {
    base: string;
    process: ChildProcess;
    browser: Browser;
    context: BrowserContext;
    port: number;
    options: EditorOptions;
  }) {
    this.#base = parts.base;
    this.home = join(parts.base, "home");
    this.workspace = join(parts.base, "work space");
    this.#process = parts.process;
    this.#browser = parts.browser;
    this.#context = parts.context;
    this.#scenario = parts.options.scenario;
    const opened = parts.options.roots
      ? `workspace=${encodeURIComponent(join(parts.base, WORKSPACE_FILE))}`
      : `folder=${encodeURIComponent(this.workspace)}`;
    this.#url = `http://127.0.0.1:${parts.port}/?${opened}`;
    this.#context.on("response", (response) => {
      const { protocol, hostname } = new URL(response.url());
      // A webview's files have an address of their own, but the page's service worker answers.
      if (protocol.startsWith("http") && hostname !== "127.0.0.1" && !response.fromServiceWorker()) {
        this.#foreign.add(hostname);
      }
    });
    this.#context.on("requestfailed", (request) => {
      if (request.url().startsWith("http") && new URL(request.url()).hostname !== "127.0.0.1") {
        this.#foreign.add(request.url());
      }
    });
  }

  /** Installs the extension into a fresh editor and starts it. */
  static async launch(options: EditorOptions): Promise<Editor> {
    const base = mkdtempSync(join(tmpdir(), "editor-test-"));
    prepare(base, options);
    const folders = ["--user-data-dir", join(base, "user"), "--extensions-dir", join(base, "extensions")];
    const common = [CODE_SERVER, ...folders, "--config", join(base, "config.yaml")];
    for (const extension of [VSIX, ...(options.extensions ?? []).map((name) => packed(name, base))]) {
      execFileSync(NODE, [...common, "--install-extension", extension], { stdio: "pipe" });
    }
    const port = await freePort();
    const child = spawn(
      NODE,
      [
        ...common,
        ...["--bind-addr", `127.0.0.1:${port}`, "--auth", "none", "--disable-telemetry", "--disable-update-check"],
        ...["--disable-getting-started-override", "--disable-proxy"],
        ...(options.asksForTrust ? [] : ["--disable-workspace-trust"]),
      ],
      {
        stdio: "ignore",
        detached: true,
        env: { ...process.env, ...options.env, EXTENSIONS_GALLERY: "{}" },
      },
    );
    await healthy(port, child);
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
    });
    const context = await browser.newContext({
      viewport: { width: 1360, height: 850 },
    });
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    return new Editor({
      base,
      process: child,
      browser,
      context,
      port,
      options,
    });
  }

  /** Opens a window on the workspace. */
  async open(): Promise<Window> {
    const page = await this.#context.newPage();
    page.setDefaultTimeout(PATIENCE);
    await page.goto(this.#url, { waitUntil: "domcontentloaded" });
    await page.locator(".monaco-workbench").waitFor();
    return new Window(page, this.workspace, (name) => this.#screenshotPath(name));
  }

  /** Hosts other than this machine that any page has asked for anything. */
  get foreignHosts(): string[] {
    return [...this.#foreign];
  }

  /** Takes a screenshot of every window. */
  async screenshotAll(name: string): Promise<void> {
    for (const page of this.#context.pages()) {
      await page.screenshot({ path: this.#screenshotPath(name) });
    }
  }

  /** Files of a name anywhere in the editor's folders. */
  filesNamed(name: string): string[] {
    return readdirSync(this.#base, { recursive: true, encoding: "utf8" }).filter((path) => basename(path) === name);
  }

  /** The end of what the extension has logged. */
  get log(): string {
    const logs = join(this.#base, "user", "logs");
    return readdirSync(logs, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith("AI CodeGen Assistant.log"))
      .map((name) => readFileSync(join(logs, name), "utf8").split("\n").slice(-60).join("\n"))
      .join("\n");
  }

  /** Ends everything that was started, and the engine. */
  async close(): Promise<void> {
    await this.#browser.close();
    if (this.#process.pid !== undefined && this.#process.exitCode === null) {
      const ended = new Promise((resolve) => this.#process.once("exit", resolve));
      process.kill(-this.#process.pid, "SIGTERM");
      await ended;
    }
    await cli(this.home, "stop");
    rmSync(this.#base, {
      recursive: true,
      force: true,
      maxRetries: 20,
      retryDelay: 200,
    });
  }

  #screenshotPath(name: string): string {
    this.#shots += 1;
    return join(SCREENSHOTS, `${this.#scenario}-${String(this.#shots).padStart(2, "0")}-${name}.png`);
  }
}

function prepare(base: string, options: EditorOptions): void {
  const { files, roots, asksForTrust = false, starter = true, settings = {} } = options;
  const home = join(base, "home");
  for (const folder of ["work space", "user/User", "user/Machine", "extensions", "home"]) {
    mkdirSync(join(base, folder), { recursive: true });
  }
  mkdirSync(SCREENSHOTS, { recursive: true });
  if (starter) {
    copyStarterHome(home);
  }
  for (const [name, content] of Object.entries(files)) {
    const path = join(base, "work space", name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  if (roots) {
    const folders = roots.map((root) =>
      root.includes(":") ? { uri: root } : { path: join(base, "work space", root) },
    );
    writeFileSync(join(base, WORKSPACE_FILE), JSON.stringify({ folders }));
  }
  const machine = {
    "aiCodegenAssistant.interpreter": PYTHON,
    "aiCodegenAssistant.dataFolder": home,
    "aiCodegenAssistant.explainMaxTokens": 64,
    "aiCodegenAssistant.generateMaxTokens": 64,
    ...settings,
  };
  writeFileSync(join(base, "user/Machine/settings.json"), JSON.stringify(machine));
  writeFileSync(
    join(base, "user/User/settings.json"),
    JSON.stringify({ ...USER_SETTINGS, "security.workspace.trust.enabled": asksForTrust }),
  );
  writeFileSync(join(base, "config.yaml"), "auth: none\n");
}

/** Packs an extension of the tests, which cannot be installed as a folder. */
function packed(name: string, base: string): string {
  const file = join(base, `${name}.vsix`);
  const options = ["--no-dependencies", "--skip-license", "--allow-missing-repository", "--out", file];
  execFileSync(NODE, [VSCE, "package", ...options], { cwd: join(EXTENSIONS, name), stdio: "pipe" });
  return file;
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") {
    throw new Error("No port is free.");
  }
  return address.port;
}

async function healthy(port: number, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + STARTUP;
  while (Date.now() < deadline && child.exitCode === null) {
    const answer = await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => undefined);
    if (answer?.ok) {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`The editor did not start on port ${port}.`);
}
