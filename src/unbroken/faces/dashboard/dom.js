// Elements made and written.  Words from outside become text, never markup; what has not changed is not written.

const SVG = "http://www.w3.org/2000/svg";
const NAMES = 12; // that are listed in one line of words

/** An element: `make("td", {class: "name"}, "words", child, ...)`; names of events take functions. */
export function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same of a drawing. */
export function draw(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export const find = (id) => document.getElementById(id);

/** Write this text, where it is another one. */
export function put(element, text) {
  const words = String(text);
  if (element.shownText === words) return;
  element.shownText = words;
  element.textContent = words;
}

/** Set this attribute, where it is another one; null takes it away. */
export function set(element, name, value) {
  const known = (element.shownAttributes ??= {});
  if (known[name] === value) return;
  known[name] = value;
  if (value === null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : value);
}

/** Set a property of its style, where it is another one. */
export function style(element, name, value) {
  const known = (element.shownStyle ??= {});
  if (known[name] === value) return;
  known[name] = value;
  element.style.setProperty(name, value);
}

/** Show these elements in this order; those that stand where they should are not touched. */
export function arrange(parent, wanted) {
  const kept = new Set(wanted);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  wanted.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
}

// ------------------------------------------------------------------- words for numbers

/** Seconds in three figures at most: 8 ms, 430 ms, 1.4 s, 12 min. */
export function seconds(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value > 0 && value < 119.5 && Number.isInteger(value)) return `${value} s`;
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 119.5) return `${Math.round(value)} s`;
  if (value < 7170) return `${Math.round(value / 60)} min`;
  return value < 172000 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86400)} d`;
}

/** US dollars: small sums keep two figures that say something. */
export function dollars(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "$0";
  if (value < 0.000001) return "<$0.000001";
  if (value < 0.01) return `$${Number(value.toPrecision(2)).toFixed(6).replace(/0+$/, "")}`;
  return value < 100 ? `$${value.toFixed(value < 1 ? 3 : 2)}` : `$${amount(value)}`;
}

/** A count: 950, 12.4k, 3.1M. */
export function amount(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1000) return String(Math.round(value * 10) / 10);
  if (value < 1e6) return `${Number((value / 1e3).toFixed(value < 1e4 ? 1 : 0))}k`;
  return `${(value / 1e6).toFixed(1)}M`;
}

export const percent = (share) =>
  share === null || share === undefined ? "–" : `${(100 * share).toFixed(share > 0.9995 || share === 0 ? 0 : 1)} %`;

/** A moment of today: 14:03:27. */
export const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });

/** Names, with commas between them; of many only how many more there are. */
export const listed = (names) => names.slice(0, NAMES).join(", ") + (names.length > NAMES ? `, and ${names.length - NAMES} more` : "");
