/** Shows a reply that is still being written as code. Pure. */

const FENCE = /^\s*```/;

/**
 * Returns the code in the beginning of a model's reply: what stands between the first fence and
 * the next, or everything while no fence has come.
 */
export function streamedCode(reply: string, indent: string): string {
  const lines = reply.split("\n");
  const open = lines.findIndex((line) => FENCE.test(line));
  const body = open < 0 ? lines : lines.slice(open + 1);
  const close = open < 0 ? -1 : body.findIndex((line) => FENCE.test(line));
  const code = (close < 0 ? body : body.slice(0, close)).join("\n").replace(/^\n+/, "");
  return code
    .split("\n")
    .map((line) => (line.trim() && !line.startsWith(indent) ? indent + line : line))
    .join("\n");
}
