import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { brotliCompressSync } from "node:zlib";

import { unpackWheel } from "../src/bundledWheel";

const NAME = "ai_codegen_assistant-1.2.3-py3-none-any.whl";
let bundled: string;
let environment: string;

beforeEach(() => {
  bundled = mkdtempSync(join(tmpdir(), "bundled-"));
  environment = mkdtempSync(join(tmpdir(), "environment-"));
});

afterEach(() => {
  rmSync(bundled, { recursive: true });
  rmSync(environment, { recursive: true });
});

test("the wheel is unpacked under the name that pip reads its version from", async () => {
  writeFileSync(join(bundled, "constraints.txt"), "torch==2.13.0\n");
  writeFileSync(join(bundled, `${NAME}.br`), brotliCompressSync("what the wheel holds"));
  const wheel = await unpackWheel(bundled, environment);
  assert.equal(basename(wheel), NAME);
  assert.equal(readFileSync(wheel, "utf8"), "what the wheel holds");
});

test("without a wheel it is said that the extension has to be installed again", async () => {
  await assert.rejects(unpackWheel(bundled, environment), /no backend in .*Install the extension again/);
});

test("half a wheel is refused, and nothing is left for pip", async () => {
  const whole = brotliCompressSync(Buffer.from(Array.from({ length: 999 }, (_, index) => index * index)));
  writeFileSync(join(bundled, `${NAME}.br`), whole.subarray(0, whole.length / 2));
  await assert.rejects(unpackWheel(bundled, environment), /\.whl\.br cannot be unpacked\. Install the extension again/);
  assert.throws(() => readFileSync(join(environment, NAME)), { code: "ENOENT" });
});
