import assert from "node:assert/strict";
import { test } from "node:test";

import { environmentPython, follow, isSupported, launchers, parseVersion, report } from "../src/python";

test("versions are read and compared", () => {
  assert.deepEqual(parseVersion("Python 3.11.4\n"), [3, 11]);
  assert.equal(parseVersion("sh: not found"), undefined);
  assert.ok(isSupported([3, 11]));
  assert.ok(!isSupported([3, 9]));
  assert.ok(!isSupported([2, 7]));
});

test("each platform has its launchers and its place for the interpreter", () => {
  assert.deepEqual(launchers("win32")[0], { program: "py", arguments: ["-3.13"] });
  assert.equal(launchers("linux").at(-1)?.program, "python");
  assert.match(environmentPython("/a b", "linux"), /a b.bin.python$/);
  assert.match(environmentPython("/a b", "win32"), /Scripts.python\.exe$/);
});

test("a failing program is reported with what it said", async () => {
  const script = "console.log('step'); console.error('ERROR: no such package'); process.exit(3)";
  const lines: string[] = [];
  const run = follow(process.execPath, ["-e", script], (line) => lines.push(line), new AbortController().signal);
  await assert.rejects(run, /^Error: ERROR: no such package$/);
  assert.ok(lines.includes("step"));
});

test("a program is ended on request", async () => {
  const abort = new AbortController();
  const run = follow(process.execPath, ["-e", "setInterval(() => {}, 1000)"], () => undefined, abort.signal);
  abort.abort();
  await assert.rejects(run, { name: "AbortError" });
});

test("a report is returned though the exit code says that something is wrong", async () => {
  const script = 'console.log("disk: full"); process.exit(1)';
  assert.equal(await report(process.execPath, ["-e", script], process.env), "disk: full\n");
});

test("a program that reports nothing fails with what it complained about", async () => {
  const script = 'console.error("no such command"); process.exit(2)';
  await assert.rejects(report(process.execPath, ["-e", script], process.env), /no such command/);
});
