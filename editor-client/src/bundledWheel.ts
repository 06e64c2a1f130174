/** The backend's wheel as the extension brings it along: compressed, because Node can and pip cannot read it so. */

import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliDecompress } from "node:zlib";

const decompress = promisify(brotliDecompress);

/**
 * Writes the wheel that lies in the folder `bundled` into the folder `into`, and returns its path.
 *
 * @throws Error when there is none, or when it is damaged.
 */
export async function unpackWheel(bundled: string, into: string): Promise<string> {
  const name = (await readdir(bundled)).find((file) => file.endsWith(".whl.br"));
  if (!name) {
    throw damaged(`no backend in ${bundled}`);
  }
  const content = await decompress(await readFile(join(bundled, name))).catch((error: unknown) => {
    throw damaged(`${join(bundled, name)} cannot be unpacked`, error);
  });
  const wheel = join(into, name.replace(/\.br$/, ""));
  await writeFile(wheel, content);
  return wheel;
}

function damaged(what: string, cause?: unknown): Error {
  return new Error(`The extension is damaged: ${what}. Install the extension again.`, { cause });
}
