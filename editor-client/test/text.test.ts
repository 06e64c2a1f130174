import assert from "node:assert/strict";
import { test } from "node:test";

import {
  count,
  dedent,
  formatBytes,
  formatDuration,
  formatSimilarity,
  indentLines,
  proposedPath,
  shorten,
} from "../src/text";

test("dedent removes only what all lines share", () => {
  assert.equal(dedent("    def f():\n        return 1\n\n    x = 2"), "def f():\n    return 1\n\nx = 2");
});

test("dedent keeps lines of a selection that begins in mid-line", () => {
  assert.equal(dedent("def f():\n    return 1"), "def f():\n    return 1");
});

test("indentLines leaves blank lines blank", () => {
  assert.equal(indentLines("a\n\n  b", "    "), "    a\n\n      b");
});

test("shorten says that something was left out", () => {
  assert.equal(shorten("a  b\nc", 10), "a b c");
  assert.equal(shorten("abcdefghij", 5), "abcd…");
});

test("numbers are written for people", () => {
  assert.equal(formatBytes(176_300_000), "176 MB");
  assert.equal(formatBytes(10_400_000_000), "10.4 GB");
  assert.equal(formatBytes(0), "0 B");
  assert.equal(formatDuration(84.4), "84 ms");
  assert.equal(formatDuration(2345), "2.3 s");
  assert.equal(formatDuration(125_000), "2 min 5 s");
  assert.equal(formatSimilarity(0.973), "97 %");
  assert.equal(count(1, "task"), "1 task");
  assert.equal(count(2, "task"), "2 tasks");
});

test("a proposal is Python, whatever its document is called and wherever it is", () => {
  assert.equal(proposedPath("/work space/known.py"), "/work space/known (proposed).py");
  assert.equal(proposedPath("Untitled-1"), "/Untitled-1 (proposed).py");
  assert.equal(proposedPath("/book.ipynb"), "/book.ipynb (proposed).py");
});
