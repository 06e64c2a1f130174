import assert from "node:assert/strict";
import { test } from "node:test";

import { describeFailure, NotSetUp } from "../src/errors";

function rejection(message: string, code: number, data?: unknown): Error {
  return Object.assign(new Error(message), { code, data });
}

test("a missing model leads to the choice of a set", () => {
  const failure = describeFailure(rejection("The model is not installed.", -32803, { code: "modelMissing" }));
  assert.equal(failure.message, "The model is not installed.");
  assert.deepEqual(
    failure.remedies.map(({ command }) => command),
    ["aiAssistant.chooseModelSet"],
  );
});

test("a cancelled request is no failure to show", () => {
  assert.ok(describeFailure(rejection("cancelled", -32800)).cancelled);
  assert.ok(describeFailure(rejection("cancelled", -32803, { code: "cancelled" })).cancelled);
  assert.ok(!describeFailure(rejection("broken", -32603)).cancelled);
});

test("a server that ended in mid-answer is explained", () => {
  assert.match(describeFailure(rejection("Pending response rejected", -32097)).message, /ended while it was answering/);
});

test("what is unknown leads to the log, what is not set up to the setup", () => {
  assert.equal(describeFailure("odd").remedies[0]?.command, "aiAssistant.showLogs");
  assert.equal(describeFailure(new NotSetUp()).remedies[0]?.command, "aiAssistant.setUp");
});
