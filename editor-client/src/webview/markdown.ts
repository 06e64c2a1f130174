/** Markdown to elements that cannot reach anything: no raw HTML, no images, no links. */

import hljs from "highlight.js/lib/core";
import python from "highlight.js/lib/languages/python";
import MarkdownIt from "markdown-it";

hljs.registerLanguage("python", python);

const ASSUMED_LANGUAGES = ["", "py", "python", "python3"];

const markdown = new MarkdownIt({ html: false, linkify: false, breaks: false, highlight });
// A model invents addresses; nothing here may load or open one.
markdown.disable(["image", "link", "autolink"]);
// An answer's headings stand below its question, which is of the second level.
markdown.core.ruler.push("lower_headings", ({ tokens }) => {
  for (const token of tokens.filter(({ type }) => type.startsWith("heading_"))) {
    token.tag = `h${Math.min(6, Number(token.tag.slice(1)) + 2)}`;
  }
});

/** Renders Markdown, also when it is not complete yet. */
export function renderMarkdown(text: string): DocumentFragment {
  return parse(markdown.render(text));
}

/** Renders code with highlighting. */
export function renderCode(code: string): HTMLPreElement {
  const pre = document.createElement("pre");
  const inner = document.createElement("code");
  inner.append(parse(highlight(code, "python") || markdown.utils.escapeHtml(code)));
  pre.append(inner);
  return pre;
}

/** What both libraries return is markup they have escaped themselves. */
function parse(html: string): DocumentFragment {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

function highlight(code: string, language: string): string {
  return ASSUMED_LANGUAGES.includes(language.toLowerCase()) ? hljs.highlight(code, { language: "python" }).value : "";
}
