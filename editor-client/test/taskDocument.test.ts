import assert from "node:assert/strict";
import { test } from "node:test";

import { parseTask, renderTask } from "../src/taskDocument";

const TASK = {
  description: "Double a number.\n\nAlso floats.",
  implementation: "    # indented\ndef f(x):\n    return 2 * x",
  tests: "assert f(2) == 4",
};

test("a task's document reads back as the task", () => {
  assert.deepEqual(parseTask(renderTask(TASK)), TASK);
});

test("a task without tests reads back without tests", () => {
  assert.deepEqual(parseTask(renderTask({ ...TASK, tests: "" }))?.tests, "");
});

test("comments of the implementation are not taken for the description", () => {
  const text = "# Task: Add.\n\n# a comment\nx = 1\n";
  assert.deepEqual(parseTask(text), { description: "Add.", implementation: "# a comment\nx = 1", tests: "" });
});

test("a document without its title is refused rather than guessed", () => {
  assert.equal(parseTask("def f(): pass\n"), undefined);
});
