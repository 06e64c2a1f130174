// Replaces a wheel by one compressed as a whole: WHEEL becomes WHEEL.br.
// Usage: node compress_wheel.mjs WHEEL
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants } from "node:zlib";

const [wheel] = process.argv.slice(2);
const content = readFileSync(wheel);
const params = {
  [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
  // All files of a wheel resemble each other: look back as far as the format allows.
  [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
  [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
};
writeFileSync(`${wheel}.br`, brotliCompressSync(content, { params }));
rmSync(wheel);
