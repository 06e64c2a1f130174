import assert from "node:assert/strict";
import { test } from "node:test";

import type { ModelInfo, Status } from "../src/protocol";
import { describeStatus, statusDetails } from "../src/statusText";

function status(changes: Partial<Status> = {}, ...models: Partial<ModelInfo>[]): Status {
  return {
    engine: { pid: 7, uptime: 1, version: "1.0", state: "running" },
    models: models.map((model) => ({ role: "explain", name: "owner/Small-Model", state: "absent", ...model })),
    queue: { waiting: 0 },
    knowledge: { count: 164, path: "", state: "ready" },
    memory: { process: 500_000_000 },
    ...changes,
  };
}

test("before the server runs its own state is shown", () => {
  assert.match(describeStatus("notSetUp", undefined).text, /set up/);
  assert.equal(describeStatus("failed", undefined).kind, "error");
  assert.match(describeStatus("starting", undefined).text, /starting/);
});

test("a load is shown with its share", () => {
  const shown = describeStatus("running", status({}, { state: "loading", progress: 0.424 }));
  assert.match(shown.text, /loading 42 %/);
  assert.equal(shown.summary, "Loading Small-Model 42 %");
});

test("an answer is shown with its speed", () => {
  assert.match(describeStatus("running", status({}, { state: "running" })).text, /thinking/);
  assert.match(
    describeStatus("running", status({}, { state: "running", tokensPerSecond: 12.34 })).text,
    /12\.3 tokens/,
  );
});

test("a model that serves two roles is named once", () => {
  const one = status({}, { state: "ready" });
  const [model] = one.models;
  assert.ok(model);
  const both = { ...one, models: [model, { ...model, role: "explain" as const }] };
  assert.equal(describeStatus("running", both).summary, "Ready: Small-Model");
});

test("an engine that waits is idle or ready, and one that has stopped says why", () => {
  assert.match(describeStatus("running", status()).text, /idle/);
  assert.match(describeStatus("running", status({}, { state: "ready" })).summary, /Ready: Small-Model/);
  const stopped = status({ engine: { pid: 0, uptime: 0, version: "1.0", state: "stopped", detail: "No memory." } });
  assert.deepEqual(describeStatus("running", stopped).kind, "error");
  assert.match(describeStatus("running", stopped).summary, /No memory/);
});

test("a request that the engine does not count yet is shown as thinking", () => {
  assert.match(describeStatus("running", status(), true).text, /thinking/);
});

test("models that are missing are offered", () => {
  const shown = describeStatus("running", status({}, { installed: false }));
  assert.match(shown.text, /no models/);
  assert.equal(shown.remedy?.command, "aiAssistant.chooseModelSet");
});

test("a failed model is an error with its reason", () => {
  const shown = describeStatus("running", status({}, { state: "failed", detail: "out of memory" }));
  assert.equal(shown.kind, "error");
  assert.match(shown.summary, /out of memory/);
});

test("the details name model, device, memory, queue and knowledge", () => {
  const details = statusDetails(status({}, { state: "ready", device: "cpu", dtype: "int8", bytes: 135_000_000 }));
  const lines = details.map(({ label, value }) => `${label}: ${value}`).join("\n");
  assert.match(lines, /Explain: Small-Model · ready · cpu · int8 · 135 MB/);
  assert.match(lines, /Queue: nothing waiting/);
  assert.match(lines, /Knowledge: 164 tasks · ready/);
  assert.match(lines, /Memory: engine 500 MB/);
});
