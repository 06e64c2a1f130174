import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import manifest from "../package.json";

const { commands, keybindings } = manifest.contributes;

/** What a person wants from anywhere, without a menu. */
const ABILITIES = [
  ...["explainSelection", "ask", "generateFromComment", "teachSelection", "newConversation", "stop"],
  ...["acceptGenerated", "rejectGenerated", "showConversations", "showStatus", "unloadModels", "manageTasks"],
  ...["restart", "showLogs", "runDoctor"],
].map((name) => `aiAssistant.${name}`);

test("every ability has a key on each platform", () => {
  for (const ability of ABILITIES) {
    const binding = keybindings.find(({ command }) => command === ability);
    assert.ok(binding?.key, ability);
  }
});

test("no two commands share a key, also not as the start of a sequence", () => {
  for (const platform of ["key", "mac"] as const) {
    const keys = keybindings.map((binding) => ("mac" in binding && platform === "mac" ? binding.mac : binding.key));
    assert.equal(new Set(keys).size, keys.length);
    const clashes = keys.filter((key) => keys.some((other) => other.startsWith(`${key} `)));
    assert.deepEqual(clashes, []);
  }
});

test("keys belong to commands that exist", () => {
  const known = new Set(commands.map(({ command }) => command));
  assert.deepEqual(
    keybindings.filter(({ command }) => !known.has(command)),
    [],
  );
});

test("the guide names every key", () => {
  const guide = readFileSync("README.md", "utf8").toLowerCase();
  for (const binding of keybindings) {
    assert.ok(guide.includes(binding.key), binding.key);
    assert.ok(!("mac" in binding) || guide.includes(binding.mac), binding.command);
  }
});
