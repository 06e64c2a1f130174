/** What the server is not told of: the previews of its own code, which change with each token. */

import type { Middleware } from "vscode-languageclient/node";

import { isPreview } from "./editorContext";

export const withoutPreviews: Middleware = {
  didOpen: async (document, next) => {
    if (!isPreview(document)) {
      await next(document);
    }
  },
  didChange: async (event, next) => {
    if (!isPreview(event.document)) {
      await next(event);
    }
  },
  didClose: async (document, next) => {
    if (!isPreview(document)) {
      await next(document);
    }
  },
  provideCodeActions: (document, range, context, token, next) =>
    isPreview(document) ? [] : next(document, range, context, token),
};
