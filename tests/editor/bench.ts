/**
 * Measures how long a key press takes to be painted in a real editor: while nothing runs, while
 * the model loads, and while it answers, all in one run. Also the extension's activation and size.
 *
 * Usage: tests/editor/bench.sh [cycles]; writes build/bench/editor.json.
 */

import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";

import { Editor } from "./support/editor.ts";
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

type Phase = "idle" | "loading" | "answering";

interface Sample {
  status: string;
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
  settings: { "aiCodegenAssistant.explainMaxTokens": 160, "editor.wordBasedSuggestions": "off" },
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

/** One answer, so that everything is loaded once and the first load's cost is not the editor's. */
async function warmUp(window: Window): Promise<void> {
  await window.command("AI Assistant: Ask…");
  await window.ask("What is a list?");
  await window.answered(0);
}

/** Types while nothing runs, then while the model loads and answers. */
async function runCycle(window: Window): Promise<void> {
  await window.command("AI Assistant: Unload Models");
  await window.waitForStatus("idle");
  await focusEnd(window);
  await type(window, IDLE_KEYS, async () => false);
  const entries = await window.panel.locator("article").count();
  await window.ask("Explain what a generator is in Python.");
  await focusEnd(window);
  await type(window, Infinity, async () => {
    const answered = window.panel.locator(`article.done:nth-of-type(${entries + 1})`);
    return (await answered.count()) > 0;
  });
}

async function focusEnd(window: Window): Promise<void> {
  await window.editor.locator(".view-lines").click({ position: { x: 400, y: 90 } });
  await window.page.keyboard.press("Control+End");
  await window.page.keyboard.press("Enter");
}

async function type(window: Window, keys: number, ended: () => Promise<boolean>): Promise<void> {
  for (let key = 0; key < keys; key += 1) {
    await window.page.keyboard.press(TYPED.charAt(key % TYPED.length));
    await window.page.waitForTimeout(BETWEEN_KEYS);
    if (key % KEYS_PER_LINE === KEYS_PER_LINE - 1) {
      await window.page.keyboard.press("Enter");
      if (await ended()) {
        return;
      }
    }
  }
}

/** Notes for each key when the changed line was painted, and what the status bar said meanwhile. */
async function watchKeys(window: Window): Promise<void> {
  const status = await window.statusItem.elementHandle();
  await window.page.evaluate((item) => {
    const samples: { status: string; milliseconds: number }[] = [];
    Object.assign(globalThis, { keySamples: samples });
    document.addEventListener(
      "keydown",
      (event) => {
        const lines = document.querySelector(".editor-group-container.active .view-lines");
        if (event.key.length !== 1 || event.ctrlKey || !lines) {
          return;
        }
        const said = item?.textContent ?? "";
        const observer = new MutationObserver(() => {
          observer.disconnect();
          requestAnimationFrame(() => {
            // A task after the frame's callbacks comes after its paint.
            const channel = new MessageChannel();
            channel.port1.onmessage = () =>
              samples.push({ status: said, milliseconds: performance.now() - event.timeStamp });
            channel.port2.postMessage(undefined);
          });
        });
        observer.observe(lines, { subtree: true, childList: true, characterData: true });
      },
      true,
    );
  }, status);
}

async function readSamples(window: Window): Promise<Sample[]> {
  return window.page.evaluate(() => (globalThis as unknown as { keySamples: Sample[] }).keySamples);
}

function phaseOf({ status }: Sample): Phase | undefined {
  if (/loading/.test(status)) {
    return "loading";
  }
  if (/thinking|tokens/.test(status)) {
    return "answering";
  }
  return /idle/.test(status) ? "idle" : undefined;
}

function summarise(samples: Sample[]): Partial<Record<Phase, Summary>> {
  const phases: Phase[] = ["idle", "loading", "answering"];
  return Object.fromEntries(
    phases.map((phase) => {
      const values = samples.filter((sample) => phaseOf(sample) === phase).map(({ milliseconds }) => milliseconds);
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
