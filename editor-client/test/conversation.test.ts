import assert from "node:assert/strict";
import { test } from "node:test";

import { Conversation, type Change } from "../src/conversation";
import type { Explanation, Generation } from "../src/protocol";

const ANSWER: Explanation = {
  status: "answered",
  conversationId: "c1",
  text: "It doubles.",
  model: "m",
  memory: { promptTokens: 1, limit: 2, summarised: 0 },
  timings: {},
};

const UNKNOWN: Generation = {
  status: "unknown",
  sources: [],
  threshold: 0.5,
  grounded: false,
  band: "unknown",
  timings: {},
  prompt: "sort the words",
};

function begun(): { conversation: Conversation; changes: Change[] } {
  const changes: Change[] = [];
  const conversation = new Conversation((change) => changes.push(change));
  conversation.begin({ id: "a", question: "Why?", origination: { kind: "ask" } });
  return { conversation, changes };
}

test("text arrives in order and ends the progress", () => {
  const { conversation } = begun();
  conversation.progress("a", { message: "Loading", percentage: 10 });
  assert.equal(conversation.entry("a")?.progress?.message, "Loading");
  conversation.append("a", "It ");
  conversation.append("a", "doubles.");
  assert.equal(conversation.entry("a")?.text, "It doubles.");
  assert.equal(conversation.entry("a")?.progress, undefined);
});

test("an answer is followed by questions of the same conversation", () => {
  const { conversation } = begun();
  conversation.finish("a", ANSWER);
  assert.equal(conversation.conversationId, "c1");
  assert.equal(conversation.entry("a")?.state, "done");
  assert.ok(!conversation.working);
});

test("what the server read from the comment becomes the question", () => {
  const { conversation } = begun();
  conversation.finish("a", UNKNOWN);
  assert.equal(conversation.entry("a")?.question, "sort the words");
});

test("stopping keeps what was written, failing says why", () => {
  const { conversation } = begun();
  conversation.append("a", "Half");
  conversation.fail("a", { message: "", cancelled: true, remedies: [] });
  assert.deepEqual([conversation.entry("a")?.state, conversation.entry("a")?.text], ["stopped", "Half"]);
  conversation.append("a", " late");
  assert.equal(conversation.entry("a")?.text, "Half");
  conversation.begin({ id: "b", question: "?", origination: { kind: "explain" } });
  conversation.fail("b", { message: "No memory.", cancelled: false, remedies: [] });
  assert.equal(conversation.entry("b")?.problem?.message, "No memory.");
});

test("a reload stops what was under way and keeps the rest", () => {
  const { conversation } = begun();
  conversation.finish("a", ANSWER);
  conversation.begin({ id: "b", question: "And?", origination: { kind: "ask" } });
  const later = new Conversation(() => undefined);
  later.restore(structuredClone(conversation.save()));
  assert.deepEqual(
    later.entries.map(({ state }) => state),
    ["done", "stopped"],
  );
  assert.equal(later.conversationId, "c1");
});

test("a stored conversation is shown turn by turn", () => {
  const { conversation } = begun();
  const selection = { text: "a\nb\n", name: "s.py", startLine: 3 };
  const turn = { question: "Q", answer: "A", selection, createdAt: "", model: "m" };
  conversation.show({ conversationId: "c9", title: "Old", turns: [turn] });
  assert.equal(conversation.conversationId, "c9");
  assert.equal(conversation.entries[0]?.context?.label, "s.py:3–4");
});

test("the listener hears of text as text, and of nothing that does not change", () => {
  const { conversation, changes } = begun();
  conversation.append("a", "x");
  conversation.decide("missing", "accepted");
  assert.deepEqual(
    changes.map(({ kind }) => kind),
    ["all", "text"],
  );
});
