// Traffic, latency and cost over the window that is chosen, drawn as plain SVG.

import { amount, clock, dollars, draw, find, make, put, seconds, set, style } from "./dom.js";
import { BUCKETS, WINDOWS, quantile } from "./model.js";

const HIGH = 100; // of a drawing, whose width is one for each bucket

/** One chart: lines or stacked bars over the same window; a pointer or the arrow keys read values from it. */
class Chart {
  #at = null; // the bucket that is read
  #values = [];

  constructor(place, { series, bars, words, label }) {
    Object.assign(this, { series, bars, words, label });
    this.paths = series.map(({ tone }) => draw("path", { class: `${bars ? "bars" : "line"} ${tone}` }));
    this.rule = draw("path", { class: "rule" });
    const drawing = draw(
      "svg", { viewBox: `0 0 ${BUCKETS} ${HIGH}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      draw("path", { class: "grid", d: `M0 ${HIGH / 2}H${BUCKETS}M0 0.5H${BUCKETS}` }), ...this.paths, this.rule,
    );
    this.most = make("span", { class: "most" });
    this.half = make("span", { class: "half" });
    this.tip = make("p", { class: "tip", hidden: true });
    this.frame = make(
      "div",
      {
        class: "frame", tabindex: "0", role: "img", "aria-label": label,
        pointermove: (event) => this.#point(event), pointerleave: () => this.read(null),
        keydown: (event) => this.#key(event), blur: () => this.read(null),
      },
      drawing, this.most, this.half, this.tip,
    );
    this.axis = make("p", { class: "axis", "aria-hidden": "true" });
    find(place).append(this.frame, this.axis);
  }

  /** What stands below. */
  scale(ticks) {
    if (this.ticks === ticks) return;
    this.ticks = ticks;
    this.axis.replaceChildren(...ticks.map((words) => make("span", {}, words)));
  }

  /** Draw these values: of each bucket one for each series, null where there is none. */
  update(buckets, values, summary) {
    this.#values = buckets.map((bucket, at) => ({ at: bucket.at, values: values[at] }));
    const tops = values.map((of) => (this.bars ? of.reduce((sum, value) => sum + value, 0) : Math.max(0, ...of)));
    const top = rounded(Math.max(...tops));
    const shapes = this.bars ? stacked(values, top) : lines(values, top);
    shapes.forEach((shape, at) => set(this.paths[at], "d", shape));
    put(this.most, top > 0 ? this.words(top) : "");
    put(this.half, top > 0 ? this.words(top / 2) : "");
    set(this.frame, "aria-label", `${this.label}. ${summary}`);
    if (this.#at !== null) this.read(this.#at);
  }

  /** Show the values of this bucket; of none for null. */
  read(at) {
    this.#at = at;
    this.tip.hidden = at === null;
    set(this.rule, "d", at === null ? "" : `M${at + 0.5} 0V${HIGH}`);
    if (at === null || !this.#values[at]) return;
    const { at: moment, values } = this.#values[at];
    const told = this.series.map(({ name }, of) => `${name} ${values[of] === null ? "–" : this.words(values[of])}`);
    put(this.tip, `${clock(moment)}  ${told.join(" · ")}`);
    style(this.tip, "--at", `${(100 * at) / BUCKETS}%`);
    set(this.tip, "data-side", at > BUCKETS / 2 ? "left" : "right");
  }

  #point(event) {
    const box = this.frame.getBoundingClientRect();
    const at = Math.floor((BUCKETS * (event.clientX - box.left)) / box.width);
    this.read(Math.max(0, Math.min(BUCKETS - 1, at)));
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12 }[event.key];
    if (event.key === "Escape") this.read(null);
    if (!step) return;
    event.preventDefault();
    this.read(Math.max(0, Math.min(BUCKETS - 1, (this.#at ?? BUCKETS - 1) + step)));
  }
}

/** The value, or the next round number above it: 1, 2 or 5 and noughts. */
function rounded(value) {
  if (!(value > 0)) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? 10 * power;
}

const height = (value, top) => (top > 0 ? Math.round((1000 * HIGH * value) / top) / 1000 : 0);

function stacked(values, top) {
  const feet = values.map(() => 0);
  return (values[0] ?? []).map((_, of) =>
    values.map((all, at) => {
      if (!all[of]) return "";
      const high = height(all[of], top);
      const foot = (feet[at] += high);
      return `M${at + 0.1} ${(HIGH - foot).toFixed(2)}h.8v${high.toFixed(2)}h-.8z`;
    }).join(""),
  );
}

/** Lines, broken where there is nothing; a value that stands alone is a short stroke. */
function lines(values, top) {
  return (values[0] ?? []).map((_, of) => {
    let before = null;
    return values.map((all, at) => {
      if (all[of] === null) return (before = null), "";
      const y = (HIGH - height(all[of], top)).toFixed(2);
      const drawn = before === null ? `M${at + 0.1} ${y}h.8` : `L${at + 0.5} ${y}`;
      before = y;
      return drawn;
    }).join("");
  });
}

const legend = (place, entries) => {
  find(place).append(...entries.map(({ name, tone }) =>
    make("span", {}, make("span", { class: `swatch ${tone}`, "aria-hidden": "true" }), name)));
};

/** The three charts of the page. */
export class Charts {
  constructor() {
    const traffic = [
      { name: "answered", tone: "good" }, { name: "failed over", tone: "info" }, { name: "failed", tone: "bad" },
    ];
    const latency = [{ name: "p50", tone: "good" }, { name: "p95", tone: "warn" }];
    const cost = [{ name: "US dollars", tone: "info" }];
    this.traffic = new Chart("trafficChart", { series: traffic, bars: true, words: amount, label: "Requests over time" });
    this.latency = new Chart("latencyChart", { series: latency, bars: false, words: seconds, label: "Latency of requests over time" });
    this.cost = new Chart("costChart", { series: cost, bars: true, words: dollars, label: "Cost over time" });
    legend("trafficNow", traffic);
    legend("latencyNow", latency);
    legend("costNow", cost);
  }

  update(buckets, span) {
    for (const chart of [this.traffic, this.latency, this.cost]) chart.scale(WINDOWS[span].ticks);
    const sum = (name) => buckets.reduce((total, bucket) => total + bucket[name], 0);
    const latencies = buckets.flatMap((bucket) => bucket.latencies);
    this.traffic.update(
      buckets, buckets.map((b) => [b.requests - b.failovers - b.failed, b.failovers, b.failed]),
      `${sum("requests")} requests, ${sum("failovers")} failed over, ${sum("failed")} failed.`,
    );
    this.latency.update(
      buckets, buckets.map((b) => [quantile(b.latencies, 0.5), quantile(b.latencies, 0.95)]),
      `p50 ${seconds(quantile(latencies, 0.5))}, p95 ${seconds(quantile(latencies, 0.95))}.`,
    );
    this.cost.update(buckets, buckets.map((b) => [b.cost]), `${dollars(sum("cost"))} in all.`);
  }
}
