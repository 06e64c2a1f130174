import assert from "node:assert/strict";
import { test } from "node:test";

import { describe } from "../src/description";

test("a docstring's first paragraph describes the code", () => {
  const code = 'def f(x):\n    """Return x\n    twice.\n\n    Args: x\n    """\n    return 2 * x';
  assert.equal(describe(code, ["# a comment"]), "Return x twice.");
});

test("a docstring of an async function with a long signature is found", () => {
  assert.equal(describe("async def f(\n    a: int,\n) -> int:\n    '''Add one.'''\n    return a + 1", []), "Add one.");
});

test("then a comment that starts the code, then one right above it", () => {
  assert.equal(describe("# double it\nx * 2", ["# above"]), "double it");
  assert.equal(describe("x = y * 2", ["x = 1", "# above"]), "above");
  assert.equal(describe("x = y * 2", ["# far above", ""]), "");
});

test("then the name", () => {
  assert.equal(describe("def remove_duplicates(xs):\n    return xs", []), "Remove duplicates");
  assert.equal(describe("class WordCounter:\n    pass", []), "Word counter");
});

test("code without any of these is described by the person", () => {
  assert.equal(describe("print(1)", ["print(0)"]), "");
});
