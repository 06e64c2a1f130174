/**
 * Measures how long a key press takes to be painted in a real editor: while nothing runs, while
 * an engine starts and loads its first model, while an engine that runs loads a model, and while it
 * answers, all in one run. Also the extension's activation and size.
 *
 * Usage: tests/editor/bench.sh [cycles]; writes build/bench/editor.json.
 */

import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";

import { Editor } from "./support/editor.ts";
import { cli } from "./support/home.ts";
import { ROOT, VSIX } from "./support/places.ts";
import type { Window } from "./support/window.ts";

const SAMPLE = `def mean(values):
    """Return the arithmetic mean."""
    return sum(values) / len(values)

`;
const TYPED = "total = total + 1 ";
const BETWEEN_KEYS = 45;
const IDLE_KEYS = 120;
const KEYS_PER_LINE = 60;
/** A load is over within a second or two; several make enough keys for a 95th percentile. */
const LOADS_PER_CYCLE = 4;

const PHASES = ["idle", "starting", "loading", "answering"] as const;
type Phase = (typeof PHASES)[number];

interface Sample {
  phase: Phase | undefined;
  milliseconds: number;
}

interface Summary {
  keys: number;
  p50: number;
  p95: number;
  max: number;
}

const cycles = Number(process.argv[2] ?? 4);
const editor = await Editor.launch({
  scenario: "bench",
  files: { "sample.py": SAMPLE },
  settings: { "aiCodegenAssistant.explainMaxTokens": 48, "editor.wordBasedSuggestions": "off" },
});
try {
  const window = await editor.open();
  await window.openFile("sample.py");
  await window.waitForStatus(/idle|ready/);
  const activation = await readActivation(window);
  await warmUp(window);
  await watchKeys(window);
  for (let cycle = 0; cycle < cycles; cycle += 1) {
    await runCycle(window);
  }
  const samples = await readSamples(window);
  const report = {
    machine: { cores: cpus().length, model: cpus()[0]?.model, load: loadavg() },
    vsixBytes: statSync(VSIX).size,
    activationMilliseconds: activation,
    cycles,
    keyToPaintMilliseconds: summarise(samples),
  };
  mkdirSync(join(ROOT, "build", "bench"), { recursive: true });
  writeFileSync(join(ROOT, "build", "bench", "editor.json"), `${JSON.stringify(report, null, 2)}\n`);
  print(report);
} finally {
  await editor.close();
}

/** One answer, so that what the editor itself does for the first time is not measured. */
async function warmUp(window: Window): Promise<void> {
  await window.command("AI Assistant: Ask…");
  await window.ask("What is a list?");
  await window.answered(0);
  await unload(window);
}

/** Types while nothing runs, then while an engine starts, loads and answers, then while it loads again and answers. */
async function runCycle(window: Window): Promise<void> {
  await focusEnd(window);
  await type(window, "idle", keysPressed(IDLE_KEYS));
  await cli(editor.home, "stop");
  await typeDuringAnswer(window, "starting");
  for (let load = 0; load < LOADS_PER_CYCLE; load += 1) {
    await unload(window);
    await typeDuringAnswer(window, "loading");
  }
  await unload(window);
}

async function unload(window: Window): Promise<void> {
  await window.command("AI Assistant: Unload Models");
  await window.waitForStatus("idle");
  // The message that they are unloaded goes away by itself, in the middle of what is measured next.
  await window.command("Notifications: Clear All Notifications");
}

/** Asks, and types until the answer begins, which is the phase given, and until it is complete. */
async function typeDuringAnswer(window: Window, phase: Phase): Promise<void> {
  const entry = `article:nth-of-type(${(await window.panel.locator("article").count()) + 1})`;
  const begun = window.panel.locator(`${entry}:not(:has(.progress))`);
  const answered = window.panel.locator(`${entry}.done`);
  await window.ask("Explain what a generator is in Python.");
  await focusEnd(window);
  await type(window, phase, async () => (await begun.count()) > 0);
  await type(window, "answering", async () => (await answered.count()) > 0);
}

async function focusEnd(window: Window): Promise<void> {
  await window.command("View: Focus Active Editor Group");
  await window.page.locator(".editor-instance .monaco-editor.focused").waitFor();
  await window.page.keyboard.press("Control+End");
  await window.page.keyboard.press("Enter");
}

function keysPressed(wanted: number): () => Promise<boolean> {
  let pressed = 0;
  return async () => {
    pressed += 1;
    return pressed > wanted;
  };
}

/** Types until `ended`; what is typed belongs to a phase. */
async function type(window: Window, phase: Phase, ended: () => Promise<boolean>): Promise<void> {
  await notePhase(window, phase);
  for (let key = 0; !(await ended()); key += 1) {
    await window.page.keyboard.press(TYPED.charAt(key % TYPED.length));
    await window.page.waitForTimeout(BETWEEN_KEYS);
    if (key % KEYS_PER_LINE === KEYS_PER_LINE - 1) {
      await window.page.keyboard.press("Enter");
    }
  }
  await notePhase(window, undefined);
}

async function notePhase(window: Window, phase: Phase | undefined): Promise<void> {
  await window.page.evaluate((now) => {
    Object.assign(globalThis, { phase: now });
  }, phase);
}

/** Notes for each key when the changed line was painted, and the phase it belongs to. */
async function watchKeys(window: Window): Promise<void> {
  await window.page.evaluate(() => {
    const page = globalThis as unknown as { phase?: Phase };
    const samples: Sample[] = [];
    Object.assign(page, { keySamples: samples });
    document.addEventListener(
      "keydown",
      (event) => {
        const lines = document.querySelector(".editor-group-container.active .view-lines");
        if (event.key.length !== 1 || event.ctrlKey || !lines) {
          return;
        }
        const { phase } = page;
        const observer = new MutationObserver(() => {
          observer.disconnect();
          requestAnimationFrame(() => {
            // A task after the frame's callbacks comes after its paint.
            const channel = new MessageChannel();
            channel.port1.onmessage = () => samples.push({ phase, milliseconds: performance.now() - event.timeStamp });
            channel.port2.postMessage(undefined);
          });
        });
        observer.observe(lines, { subtree: true, childList: true, characterData: true });
      },
      true,
    );
  });
}

async function readSamples(window: Window): Promise<Sample[]> {
  return window.page.evaluate(() => (globalThis as unknown as { keySamples: Sample[] }).keySamples);
}

function summarise(samples: Sample[]): Partial<Record<Phase, Summary>> {
  return Object.fromEntries(
    PHASES.map((phase) => {
      const values = samples.filter((sample) => sample.phase === phase).map(({ milliseconds }) => milliseconds);
      values.sort((left, right) => left - right);
      return [
        phase,
        { keys: values.length, p50: quantile(values, 0.5), p95: quantile(values, 0.95), max: quantile(values, 1) },
      ];
    }),
  );
}

function quantile(sorted: number[], share: number): number {
  const value = sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  return Math.round(value * 10) / 10;
}

/** The activation time that the editor itself has measured. */
async function readActivation(window: Window): Promise<number> {
  await window.command("Developer: Show Running Extensions");
  const rows = window.page.locator(".runtime-extensions-editor .extension");
  const row = rows.filter({ hasText: "AI CodeGen Assistant" });
  await rows.first().click();
  // Only the rows in sight exist; the quickest extensions come last.
  await window.waitUntil(async () => {
    await window.page.keyboard.press("PageDown");
    return (await row.count()) > 0;
  });
  await window.screenshot("activation");
  const found = /(\d+) ?ms/.exec(await row.innerText());
  await window.page.keyboard.press("Escape");
  await window.page.locator(".monaco-modal-editor-block").waitFor({ state: "hidden" });
  return Number(found?.[1]);
}

function print(report: {
  vsixBytes: number;
  activationMilliseconds: number;
  keyToPaintMilliseconds: Partial<Record<Phase, Summary>>;
}): void {
  console.log(`.vsix ${(report.vsixBytes / 1000).toFixed(0)} kB, activation ${report.activationMilliseconds} ms`);
  const idle = report.keyToPaintMilliseconds.idle?.p95 ?? Number.NaN;
  for (const [phase, { keys, p50, p95, max }] of Object.entries(report.keyToPaintMilliseconds)) {
    const ratio = (p95 / idle).toFixed(2);
    console.log(`${phase.padEnd(10)} ${keys} keys, p50 ${p50} ms, p95 ${p95} ms (${ratio} of idle), max ${max} ms`);
  }
}
