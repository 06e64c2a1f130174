import assert from "node:assert/strict";
import { test } from "node:test";

import { RestartPolicy } from "../src/restartPolicy";

test("four restarts in three minutes, then no more", () => {
  const policy = new RestartPolicy();
  const answers = [0, 1000, 2000, 3000, 4000].map((now) => policy.allows(now));
  assert.deepEqual(answers, [true, true, true, true, false]);
});

test("rare ends are always followed by a restart", () => {
  const policy = new RestartPolicy();
  for (let minute = 0; minute < 20; minute += 1) {
    assert.ok(policy.allows(minute * 60_000));
  }
});

test("a person's restart begins anew", () => {
  const policy = new RestartPolicy();
  for (let end = 0; end < 5; end += 1) {
    policy.allows(end);
  }
  policy.reset();
  assert.ok(policy.allows(6));
});
