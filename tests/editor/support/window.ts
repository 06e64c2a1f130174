/** One editor window, as a person uses it. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { FrameLocator, Locator, Page } from "./playwright.ts";

/** How often a key press or a click that the workbench may swallow is repeated. */
const ATTEMPTS = 8;
const MOMENT = 2_500;
const PAUSE = 200;
/** How long the editor's file dialog looks at the disk at most after a path was entered. */
const LOOK = 1_500;
const PATIENCE = 180_000;
/** More than any panel of the tests has. */
const MOST_STOPS = 60;

export class Window {
  readonly page: Page;
  readonly #workspace: string;
  readonly #screenshotPath: (name: string) => string;

  constructor(page: Page, workspace: string, screenshotPath: (name: string) => string) {
    this.page = page;
    this.#workspace = workspace;
    this.#screenshotPath = screenshotPath;
  }

  /** The panel's page. */
  get panel(): FrameLocator {
    return this.page.frameLocator("iframe.webview.ready").first().frameLocator("#active-frame");
  }

  /** The editor that has the focus. */
  get editor(): Locator {
    return this.page.locator(".editor-group-container.active .editor-instance .monaco-editor").first();
  }

  get statusItem(): Locator {
    return this.page.locator('.statusbar-item[id="ai-codegen-assistant.ai-codegen-assistant.aiAssistant.status"]');
  }

  async screenshot(name: string): Promise<void> {
    await this.page.screenshot({ path: this.#screenshotPath(name) });
  }

  /** Opens a file of the workspace and waits until its language is known. */
  async openFile(name: string): Promise<void> {
    const input = this.page.locator(".quick-input-widget input.input");
    const row = this.page.locator(".quick-input-list .monaco-list-row", { hasText: name }).first();
    await this.#until(async () => {
      await this.page.keyboard.press("Control+p");
      await input.waitFor({ timeout: MOMENT });
      await input.fill(name, { timeout: MOMENT });
      await row.waitFor({ timeout: MOMENT });
      await this.page.keyboard.press("Enter");
      await this.page.locator(".tab.active", { hasText: name }).waitFor({ timeout: MOMENT });
    });
    await this.page.locator(".statusbar-item", { hasText: "Python" }).waitFor();
  }

  /** Opens a file by a click in the explorer, which only shows it until something else is opened. */
  async showFile(name: string): Promise<void> {
    await this.command("View: Show Explorer");
    await this.page.locator(".explorer-folders-view .monaco-list-row", { hasText: name }).click();
    await this.page.locator(".tab.active", { hasText: name }).waitFor();
    await this.page.locator(".statusbar-item", { hasText: "Python" }).waitFor();
  }

  /** Opens a new document, which is in no file, in a language. */
  async newDocument(language: string): Promise<void> {
    const title = "File: New Untitled Text File";
    const input = this.page.locator(".quick-input-widget input.input");
    await this.#until(async () => {
      await this.page.keyboard.press("F1");
      await input.fill(`>${title}`, { timeout: MOMENT });
      // Not the first one in the list, which compares two such files.
      await this.page.locator(".quick-input-list .monaco-list-row", { hasText: title }).click({ timeout: MOMENT });
      await this.tab("Untitled-1").waitFor({ timeout: MOMENT });
    });
    await this.command("Change Language Mode");
    await this.page.locator(".quick-input-widget input.input").fill(language);
    await this.pick(language);
    await this.page.locator(".statusbar-item", { hasText: language }).waitFor();
    // What is typed before the list has given back the focus goes nowhere.
    await this.page.locator(".editor-group-container.active .monaco-editor.focused").waitFor();
  }

  /** Presses keys one after the other, from the editor in front. */
  async keys(...keys: string[]): Promise<void> {
    for (const key of keys) {
      await this.page.keyboard.press(key);
    }
  }

  /** Waits until the status bar says something. */
  async waitForStatus(text: string | RegExp): Promise<void> {
    await this.statusItem.filter({ hasText: text }).waitFor();
  }

  /** Puts the cursor at a line and column, both counted from 1. */
  async goTo(line: number, column = 1): Promise<void> {
    const input = this.page.locator(".quick-input-widget input.input");
    const place = this.page.locator(".statusbar-item", { hasText: `Ln ${line}, Col ${column}` });
    await this.#until(async () => {
      await this.editor.click({ position: { x: 300, y: 5 } });
      await this.page.keyboard.press("Control+g");
      await input.waitFor({ timeout: MOMENT });
      await input.fill(`:${line}:${column}`, { timeout: MOMENT });
      await this.page.keyboard.press("Enter");
      await place.waitFor({ timeout: MOMENT });
    });
  }

  /** Selects whole lines, both counted from 1 and included. */
  async selectLines(first: number, last: number): Promise<void> {
    await this.goTo(first);
    for (let line = first; line < last; line += 1) {
      await this.page.keyboard.press("Shift+ArrowDown");
    }
    await this.page.keyboard.press("Shift+End");
    await this.page.locator(".statusbar-item", { hasText: "selected" }).waitFor();
  }

  /** Chooses an entry of the editor's context menu at a line of text. */
  async contextMenu(lineText: string, entry: string): Promise<void> {
    await this.line(lineText).click({
      button: "right",
      position: { x: 20, y: 8 },
    });
    const item = this.page.locator(".monaco-menu .action-item", {
      hasText: entry,
    });
    await item.waitFor();
    await this.screenshot("menu");
    await this.#until(async () => {
      // A click within the menu's first moments is swallowed.
      await item.hover();
      await this.page.keyboard.press("Enter");
      await item.waitFor({ state: "detached", timeout: MOMENT });
    });
  }

  /** Chooses a code action at the cursor. */
  async codeAction(title: string): Promise<void> {
    const row = this.page.locator(".action-widget .monaco-list-row", {
      hasText: title,
    });
    await this.#until(async () => {
      await this.page.keyboard.press("Control+.");
      await row.waitFor({ timeout: MOMENT }).catch(async (error: unknown) => {
        await this.page.keyboard.press("Escape");
        throw error;
      });
    });
    await this.screenshot("code-actions");
    // A pointer block lies over the list, so it is used by keyboard.
    await this.#until(async () => {
      if (!(await row.getAttribute("class"))?.split(" ").includes("focused")) {
        await this.page.keyboard.press("ArrowDown");
        throw new Error(`The code action ${title} cannot be reached.`);
      }
    });
    await this.page.keyboard.press("Enter");
  }

  /** Runs a command by its title from the palette. */
  async command(title: string): Promise<void> {
    const input = this.page.locator(".quick-input-widget input.input");
    const row = this.page.locator(".quick-input-list .monaco-list-row", { hasText: title }).first();
    await this.#until(async () => {
      await this.page.keyboard.press("F1");
      await input.waitFor({ timeout: MOMENT });
      await input.fill(`>${title}`, { timeout: MOMENT });
      await row.waitFor({ timeout: MOMENT }).catch(async (error: unknown) => {
        // Right after a start the palette does not know all commands, and does not look again.
        await this.page.keyboard.press("Escape");
        throw error;
      });
    });
    await this.page.keyboard.press("Enter");
  }

  /** An entry of the conversation. */
  entry(index: number): Locator {
    return this.panel.locator("article").nth(index);
  }

  /** Waits until an entry has its answer. */
  async answered(index: number): Promise<void> {
    await this.panel.locator(`article.done:nth-of-type(${index + 1})`).waitFor();
  }

  /** Asks a question in the panel. */
  async ask(question: string): Promise<void> {
    await this.panel.getByLabel("Your question").fill(question);
    await this.panel.getByLabel("Your question").press("Enter");
  }

  /** Role and name of all that a screen reader finds in the panel, as the browser tells it. */
  async accessible(): Promise<{ role: string; name: string; level: number | undefined }[]> {
    const session = await this.page.context().newCDPSession(this.page);
    const { frameTree } = await session.send("Page.getFrameTree");
    const trees = await Promise.all(
      frames(frameTree).map(({ id }) => session.send("Accessibility.getFullAXTree", { frameId: id })),
    );
    await session.detach();
    const panel = trees.find(({ nodes: [root] }) => root?.name?.value === "Conversation");
    assert.ok(panel, "The panel is not accessible.");
    return panel.nodes
      .filter(({ ignored }) => !ignored)
      .map(({ role, name, properties }) => ({
        role: String(role?.value),
        name: String(name?.value ?? ""),
        level: properties?.find((property) => property.name === "level")?.value.value as number | undefined,
      }));
  }

  /** Begins to remember what the panel tells a screen reader. */
  async noteAnnouncements(): Promise<void> {
    await this.panel.getByRole("status").evaluate((region) => {
      const heard: string[] = [];
      Object.assign(globalThis, { announcements: heard });
      new MutationObserver(() => heard.push(region.textContent)).observe(region, { childList: true });
    });
  }

  async announcements(): Promise<string[]> {
    return this.panel
      .getByRole("status")
      .evaluate(() => (globalThis as unknown as { announcements: string[] }).announcements);
  }

  /** Names of what Tab reaches in the panel, from the conversation to the end. */
  async tabStops(): Promise<string[]> {
    await this.panel.getByRole("log").focus();
    const stops: string[] = [];
    for (let stop = 0; stop < MOST_STOPS && !stops.at(-1)?.includes("Show details"); stop += 1) {
      await this.page.keyboard.press("Tab");
      stops.push(await this.panel.locator(":focus").evaluate((element) => element.ariaLabel ?? element.textContent));
    }
    return stops;
  }

  /** A lens above the code of the editor in front. */
  lens(text: string | RegExp): Locator {
    return this.editor
      .locator(".codelens-decoration a, .codelens-decoration span", {
        hasText: text,
      })
      .last();
  }

  tab(text: string | RegExp): Locator {
    return this.page.locator(".tab", { hasText: text });
  }

  async tabClosed(text: string | RegExp): Promise<void> {
    await this.tab(text).waitFor({ state: "detached" });
  }

  /** Waits for the end of animations, so that a screenshot shows what a person reads. */
  async settled(): Promise<void> {
    await this.page.waitForFunction(() =>
      document
        .getAnimations()
        .every(({ playState, effect }) => playState !== "running" || effect?.getTiming().iterations === Infinity),
    );
  }

  notification(text: string | RegExp): Locator {
    return this.page.locator(".notification-list-item", { hasText: text }).first();
  }

  /** Presses a button of a notification. */
  async answer(text: string | RegExp, choice: string): Promise<void> {
    const notification = this.notification(text);
    await notification.waitFor();
    await notification.hover();
    await notification.locator(".monaco-button", { hasText: choice }).click();
  }

  /** Saves the file in front, and waits until what is on disk is what is expected. */
  async saves(name: string, expected: string | RegExp): Promise<void> {
    const matches = (text: string): boolean => (expected instanceof RegExp ? expected.test(text) : text === expected);
    await this.#until(async () => {
      await this.page.keyboard.press("Control+s");
      await this.page.locator(".tab.dirty", { hasText: name }).waitFor({ state: "detached", timeout: MOMENT });
      const text = readFileSync(join(this.#workspace, name), "utf8");
      assert.ok(matches(text), `${name} is not what was expected:\n${text}`);
    });
  }

  /** A row of the tasks view. */
  tree(text: string | RegExp): Locator {
    return this.page.locator(".pane-body .monaco-list-row", { hasText: text }).first();
  }

  /** Uses an action that a row shows under the pointer; a row drawn anew in the meantime hides it again. */
  async treeAction(row: Locator, action: string): Promise<void> {
    await this.#until(async () => {
      await this.page.mouse.move(0, 0);
      await row.hover({ timeout: MOMENT });
      await row.getByRole("button", { name: action }).click({ timeout: MOMENT });
    });
  }

  /** Chooses an entry of a list of choices. */
  async pick(label: string): Promise<void> {
    await this.page.locator(".quick-input-list .monaco-list-row", { hasText: label }).first().click();
  }

  /** Answers an input box. */
  async fillInput(title: string, text: string): Promise<void> {
    await this.page.locator(".quick-input-title", { hasText: title }).waitFor();
    const input = this.page.locator(".quick-input-widget input.input");
    await input.fill(text);
    await this.page.keyboard.press("Enter");
  }

  /** Enters a path in the editor's own file dialog, which completes and resets its text as it looks at the disk. */
  async choosePath(title: string, path: string): Promise<void> {
    const dialog = this.page.locator(".quick-input-title", { hasText: title });
    const input = this.page.locator(".quick-input-widget input.input");
    await dialog.waitFor();
    await this.#until(async () => {
      await input.fill(path, { timeout: MOMENT });
      await this.page.waitForTimeout(LOOK);
      assert.equal(await input.inputValue(), path);
      await this.page.keyboard.press("Enter");
      await dialog.waitFor({ state: "hidden", timeout: MOMENT });
    });
  }

  /** Waits until a condition holds. */
  async waitUntil(holds: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + PATIENCE;
    while (!(await holds())) {
      assert.ok(Date.now() < deadline, "The condition did not come to hold.");
      await this.page.waitForTimeout(PAUSE);
    }
  }

  /** Begins to remember what the status bar says. */
  async noteStatuses(): Promise<void> {
    await this.statusItem.evaluate((item) => {
      const seen = new Set([item.textContent]);
      Object.assign(globalThis, { statusesSeen: seen });
      new MutationObserver(() => seen.add(item.textContent)).observe(item, {
        subtree: true,
        childList: true,
        characterData: true,
      });
    });
  }

  async statusesSeen(): Promise<string[]> {
    return this.page.evaluate(() => [...(globalThis as unknown as { statusesSeen: Set<string> }).statusesSeen]);
  }

  /** A line of the editor in front. */
  line(text: string): Locator {
    return this.editor.locator(".view-line", { hasText: text }).first();
  }

  /** Repeats an action that the workbench may swallow. */
  async #until(action: () => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await action();
        return;
      } catch (error) {
        if (attempt === ATTEMPTS) {
          throw error;
        }
        await this.page.waitForTimeout(PAUSE);
      }
    }
  }
}

/** What the browser says of a page and the frames in it. */
interface FrameTree {
  frame: { id: string };
  childFrames?: FrameTree[];
}

/** A page's frames, outer ones first. */
function frames({ frame, childFrames = [] }: FrameTree): FrameTree["frame"][] {
  return [frame, ...childFrames.flatMap(frames)];
}
