/** What the packaged extension holds: little, and nothing that reaches for the network. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { PYTHON, VSIX } from "../support/places.ts";

/** Addresses that are names or documentation, not places anything is asked for. */
const HARMLESS = [
  /^http:\/\/www\.w3\.org\//,
  /^https:\/\/github\.com\/highlightjs\/highlight\.js\//,
  /^https:\/\/github\.com\/markdown-it\/markdown-it/,
];

let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "vsix-test-"));
  execFileSync(PYTHON, ["-m", "zipfile", "-e", VSIX, folder]);
});

after(() => {
  rmSync(folder, { recursive: true });
});

test("it is at most 500 kB", () => {
  assert.ok(statSync(VSIX).size <= 500_000, `${statSync(VSIX).size} bytes`);
});

test("it holds what is run and shown, and no sources or maps", () => {
  const files = readdirSync(join(folder, "extension"), { recursive: true, encoding: "utf8" });
  const unwanted = files.filter((name) => /\.(ts|map|env|pem|key)$|node_modules|^src/.test(name));
  assert.deepEqual(unwanted, []);
  assert.equal(files.filter((name) => name.endsWith(".whl.br")).length, 1);
});

test("its scripts know no address that could be asked for anything", () => {
  for (const name of ["extension.js", "languageClient.js", "panel.js"]) {
    const script = readFileSync(join(folder, "extension", "dist", name), "utf8");
    const addresses = [...script.matchAll(/\b(?:https?|wss?):\/\/[\w.-]+\.\w+[^\s"'`)]*/g)].map(([address]) => address);
    const foreign = addresses.filter((address) => !HARMLESS.some((pattern) => pattern.test(address)));
    assert.deepEqual(foreign, []);
  }
});
