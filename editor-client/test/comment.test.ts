import assert from "node:assert/strict";
import { test } from "node:test";

import { commentAt } from "../src/comment";

const LINES = ["x = 1", "    # sort the words", "    #", "    # by length", "    words = []", "# other", "", "y = 2"];

test("the whole block of comment lines is one description", () => {
  assert.deepEqual(commentAt(LINES, 2), { prompt: "sort the words\nby length", indent: "    ", lastLine: 3 });
});

test("a comment of another indentation is another comment", () => {
  assert.equal(commentAt(["# a", "    # b"], 0)?.prompt, "a");
});

test("the blank line below a comment belongs to it", () => {
  assert.equal(commentAt(LINES, 6)?.lastLine, 5);
});

test("code and empty comments describe nothing", () => {
  assert.equal(commentAt(LINES, 0), undefined);
  assert.equal(commentAt(["#", "##"], 0), undefined);
  assert.equal(commentAt([""], 0), undefined);
});
