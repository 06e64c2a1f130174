/** Builds elements. Text always becomes text nodes, never markup. */

type Child = Node | string | undefined | false;
type Attributes = Record<string, string | boolean | undefined>;

/** Makes an element; an attribute that is `false` or missing is left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes,
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child): child is Node | string => child !== undefined && child !== false));
  return element;
}

/** Makes a button that does something; what is written on it is its name, and the title explains it. */
export function button(
  label: string,
  options: { icon?: IconName; kind?: "primary" | "secondary" | "link" | "icon"; title?: string },
  onClick: () => void,
): HTMLButtonElement {
  const { icon: name, kind = "secondary", title } = options;
  const words = kind === "icon" ? undefined : h("span", {}, label);
  const element = h(
    "button",
    {
      type: "button",
      class: kind,
      title: title ?? (kind === "icon" ? label : undefined),
      "aria-label": kind === "icon" && (title ?? label),
    },
    name && icon(name),
    words,
  );
  element.addEventListener("click", onClick);
  return element;
}

/** Shapes on a 16 by 16 grid, drawn with the colour of the text. */
const ICONS = {
  book: "M3 2.5h4.2c.5 0 .8.4.8.8v10c0-.5-.4-.8-.8-.8H3zM13 2.5H8.8c-.5 0-.8.4-.8.8v10c0-.5.4-.8.8-.8H13z",
  check: "M3 8.5l3.2 3.2L13 4.8",
  close: "M4 4l8 8M12 4l-8 8",
  code: "M5.5 4.5L2 8l3.5 3.5M10.5 4.5L14 8l-3.5 3.5",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  explain: "M2.5 3h11v7.5H8l-3 2.8v-2.8H2.5zM5 5.8h6M5 8h4",
  insert: "M8 2v7.5M4.8 6.5L8 9.7l3.2-3.2M3 13.5h10",
  send: "M2.5 8h9.5M8.3 3.8L12.5 8l-4.2 4.2",
  sparkle: "M7 2.5l1.3 3.7L12 7.5 8.3 8.8 7 12.5 5.7 8.8 2 7.5l3.7-1.3zM12.5 10.5v4M10.5 12.5h4",
  stop: "M4 4h8v8H4z",
  teach: "M8 3L1.5 6 8 9l6.5-3zM4 7.3v3.4c1 1 2.4 1.5 4 1.5s3-.5 4-1.5V7.3M14.5 6v4",
  warning: "M8 2.2L14.5 13.5h-13zM8 6.5v3.3M8 11.4v.6",
} as const;

export type IconName = keyof typeof ICONS;

const SVG = "http://www.w3.org/2000/svg";

export function icon(name: IconName): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}
