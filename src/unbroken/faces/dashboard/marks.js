// A shape, a colour and a word for each state: any one of the three is enough to tell them apart.

import { draw, make, put, set } from "./dom.js";

/** Of the states that `/admin/status` tells: the word, the colour's name in style.css, the shape, the worst first. */
export const STATES = {
  open: ["open", "bad", "square"],
  cooling_down: ["cooling down", "bad", "bars"],
  half_open: ["half-open", "warn", "half"],
  recovering: ["recovering", "warn", "half"],
  degraded: ["degraded", "warn", "triangle"],
  forced_open: ["disabled", "off", "cross"],
  forced_closed: ["held closed", "info", "diamond"],
  unknown: ["no answer yet", "off", "ring"],
  healthy: ["healthy", "good", "disc"],
};

/** How a request or an attempt ended. */
export const OUTCOMES = {
  answered: ["answered", "good", "disc"],
  rescued: ["rescued", "info", "diamond"],
  failover: ["failed over", "info", "diamond"],
  failed: ["failed", "bad", "square"],
  abandoned: ["abandoned", "off", "cross"],
  "under way": ["under way", "off", "ring"],
  cached: ["from cache", "good", "ring"],
  ok: ["ok", "good", "disc"],
  down: ["down", "bad", "square"],
  degraded: ["degraded", "warn", "triangle"],
};

const SHAPES = {
  disc: "M8 3a5 5 0 1 0 0 10A5 5 0 1 0 8 3z",
  ring: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11zm0 2a3.5 3.5 0 1 1 0 7a3.5 3.5 0 1 1 0-7z",
  square: "M2.5 2.5h11v11h-11z",
  bars: "M3 2.5h4v11H3zM9 2.5h4v11H9z",
  triangle: "M8 2l6.5 12h-13z",
  half: "M8 2a6 6 0 1 0 0 12zM8 2v1.8a4.2 4.2 0 0 1 0 8.4V14A6 6 0 0 0 8 2z",
  cross: "M3.8 2.4L8 6.6l4.2-4.2 1.4 1.4L9.4 8l4.2 4.2-1.4 1.4L8 9.4l-4.2 4.2-1.4-1.4L6.6 8 2.4 3.8z",
  diamond: "M8 1.5L14.5 8 8 14.5 1.5 8z",
};

/** The mark of a state, to be made another by `remark`; `known` is STATES or OUTCOMES, `words` overrule its own. */
export function mark(known, state, words) {
  const path = draw("path", {});
  const shape = draw("svg", { viewBox: "0 0 16 16", "aria-hidden": "true", class: "shape" }, path);
  const word = make("span", { class: "word" });
  const element = make("span", { class: "mark" }, shape, word);
  element.remark = (all, next, told) => {
    const [name, tone, form] = all[next] ?? [next, "off", "ring"];
    set(element, "data-tone", tone);
    set(element, "data-state", next);
    set(path, "d", SHAPES[form]);
    put(word, told ?? name);
  };
  if (known) element.remark(known, state, words);
  return element;
}
