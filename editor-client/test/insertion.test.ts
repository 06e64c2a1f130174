import assert from "node:assert/strict";
import { test } from "node:test";

import { applyEdit, editFor, follow, insertedLines } from "../src/insertion";

const END_OF_COMMENT = { line: 1, character: 5 };
const EDIT = { range: { start: END_OF_COMMENT, end: END_OF_COMMENT }, newText: "\n  a\n  b" };

test("an edit is applied at its place", () => {
  assert.equal(applyEdit("x\n  # c\ny\n", EDIT), "x\n  # c\n  a\n  b\ny\n");
});

test("the inserted lines are those of the code", () => {
  assert.deepEqual(insertedLines(EDIT), { start: 2, end: 4 });
});

test("an edit for another document is not taken", () => {
  const change = { textDocument: { uri: "file:///a.py", version: 1 }, edits: [EDIT] };
  assert.equal(editFor("file:///a.py", { documentChanges: [change] }), EDIT);
  assert.equal(editFor("file:///b.py", { documentChanges: [change] }), undefined);
  assert.equal(editFor("file:///a.py", undefined), undefined);
});

const SPAN = { start: 10, end: 15 };

test("changes below leave the code where it is, changes above move it", () => {
  assert.deepEqual(follow(SPAN, { startLine: 15, endLine: 20, newLines: 0 }), SPAN);
  assert.deepEqual(follow(SPAN, { startLine: 2, endLine: 4, newLines: 0 }), { start: 8, end: 13 });
  assert.deepEqual(follow(SPAN, { startLine: 3, endLine: 3, newLines: 2 }), { start: 12, end: 17 });
});

test("changes inside stretch and shrink it", () => {
  assert.deepEqual(follow(SPAN, { startLine: 12, endLine: 12, newLines: 3 }), { start: 10, end: 18 });
  assert.deepEqual(follow(SPAN, { startLine: 11, endLine: 13, newLines: 0 }), { start: 10, end: 13 });
});

test("undoing the insertion ends it", () => {
  assert.equal(follow(SPAN, { startLine: 9, endLine: 14, newLines: 0 }), undefined);
});

test("removing its beginning or its end keeps the rest", () => {
  assert.deepEqual(follow(SPAN, { startLine: 8, endLine: 11, newLines: 0 }), { start: 8, end: 12 });
  assert.deepEqual(follow(SPAN, { startLine: 13, endLine: 17, newLines: 0 }), { start: 10, end: 14 });
});
