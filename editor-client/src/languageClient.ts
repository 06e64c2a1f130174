/**
 * What is used of the language client's library. Imported when a server starts rather than when
 * the extension is activated, because the library takes most of the time that activation takes.
 */

export { CloseAction, ErrorAction, LanguageClient, WorkDoneProgress } from "vscode-languageclient/node";
