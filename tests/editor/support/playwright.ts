/** Playwright, which install.sh keeps outside of the repository's own packages. */

import { createRequire } from "node:module";
import { join } from "node:path";
import type * as Playwright from "playwright-core";

import { CACHE } from "./places.ts";

export type { Browser, BrowserContext, FrameLocator, Locator, Page } from "playwright-core";

const require = createRequire(join(CACHE, "package.json"));
// `require` knows no types; the package's own declarations say what it returns.
export const { chromium } = require("playwright-core") as typeof Playwright;
