// The table of targets: a light row for each, written only where something changed, with more of it on demand.

import { amount, arrange, clock, dollars, draw, find, make, percent, put, seconds, set, style } from "./dom.js";
import { STATES, mark } from "./marks.js";
import { TRAFFIC_S } from "./model.js";

const SEVERITY = Object.keys(STATES);
const SPARK = 20; // its height
const MANY = 24; // targets; more of them scroll in a place of their own
const UNITS = { requests: "req", tokens: "tok", input_tokens: "tok in", output_tokens: "tok out", "at once": "at once" };

export class Targets {
  #rows = new Map();
  #chips = new Map();
  #shown = new Set(); // of states, that are asked for; none asks for all

  constructor(model, act) {
    this.model = model;
    this.act = act;
    this.body = find("targetRows");
    for (const id of ["search", "order"]) find(id).addEventListener("input", () => this.update(true));
  }

  /** Show how they are; rows change places only where `anew`, or while nobody is among them. */
  update(anew = false) {
    const { status, statistics, now } = this.model;
    if (status === null) return;
    for (const target of status.targets) this.#row(target.name).adopt(target, statistics?.targets[target.name]);
    const known = new Set(status.targets.map((target) => target.name));
    for (const name of this.#rows.keys()) if (!known.has(name)) this.#rows.delete(name);
    this.#count(status.targets);
    set(find("targets"), "data-many", status.targets.length > MANY);
    const busy = this.body.contains(document.activeElement) || this.body.matches(":hover");
    const moves = ["state", "traffic"].includes(find("order").value);
    if (anew || !(busy && moves)) this.#arrange(status.targets);
    this.tick(now);
  }

  /** What changes by itself: traffic, and how long rests still take. */
  tick(now = this.model.now) {
    for (const row of this.#rows.values()) row.tick(now);
  }

  #row(name) {
    if (!this.#rows.has(name)) this.#rows.set(name, new Row(name, this.model, this.act));
    return this.#rows.get(name);
  }

  #arrange(targets) {
    const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = targets.filter((one) => this.#wants(one, words));
    const sorted = kept.sort(ORDERS[find("order").value]?.(this.model) ?? (() => 0));
    arrange(this.body, sorted.flatMap((one) => this.#rows.get(one.name).elements));
    find("noTargets").hidden = sorted.length > 0;
  }

  #wants(one, words) {
    const text = [one.name, one.format, STATES[one.state]?.[0], ...one.routes].join(" ").toLowerCase();
    return (this.#shown.size === 0 || this.#shown.has(one.state)) && words.every((word) => text.includes(word));
  }

  #count(targets) {
    const counts = new Map(SEVERITY.map((state) => [state, 0]));
    for (const { state } of targets) counts.set(state, (counts.get(state) ?? 0) + 1);
    for (const [state, count] of counts) {
      if (!this.#chips.has(state)) this.#chips.set(state, this.#chip(state));
      const { button, number } = this.#chips.get(state);
      put(number, count);
      set(button, "hidden", count === 0 && !this.#shown.has(state));
    }
  }

  #chip(state) {
    const number = make("b");
    const toggle = () => {
      if (!this.#shown.delete(state)) this.#shown.add(state);
      set(button, "aria-pressed", String(this.#shown.has(state)));
      this.update(true);
    };
    const button = make("button", { type: "button", class: "chip", "aria-pressed": "false", click: toggle }, mark(STATES, state), number);
    find("states").append(button);
    return { button, number };
  }
}

const ORDERS = {
  state: () => (a, b) => SEVERITY.indexOf(a.state) - SEVERITY.indexOf(b.state),
  traffic: (model) => (a, b) => model.trafficOf(b.name).total(model.now) - model.trafficOf(a.name).total(model.now),
  name: () => (a, b) => a.name.localeCompare(b.name),
};

class Row {
  #target = null;
  #flowing = true; // whether the last picture of traffic had any

  constructor(name, all, act) {
    Object.assign(this, { name, all, act });
    this.state = mark();
    this.cause = make("span", { class: "cause" });
    this.opener = make("button", { type: "button", class: "opener", "aria-expanded": "false", click: () => this.toggle() }, name);
    this.model = make("span", { class: "quiet" });
    this.good = draw("path", { class: "good" });
    this.bad = draw("path", { class: "bad" });
    this.rate = make("span");
    this.flight = make("td", { role: "cell", class: "number", "data-name": "in flight" });
    this.latency = make("td", { role: "cell", class: "number", "data-name": "p50 / p95" });
    this.success = make("td", { role: "cell", class: "number", "data-name": "success" });
    this.cost = make("td", { role: "cell", class: "number", "data-name": "cost" });
    this.room = make("span");
    this.meter = make("span", { class: "meter", "aria-hidden": "true" }, make("span"));
    this.limits = make("td", { role: "cell", class: "limits", "data-name": "limits" }, this.meter, this.room);
    this.button = make("button", { type: "button", class: "switch", click: () => this.switch() });
    this.element = this.#whole();
    this.more = make("tr", { role: "row", class: "more" }, make("td", { role: "cell", colspan: "9" }));
  }

  /** The row, and under it what else there is to say where that was asked for. */
  get elements() {
    return this.isOpen ? [this.element, this.more] : [this.element];
  }

  get isOpen() {
    return this.opener.getAttribute("aria-expanded") === "true";
  }

  adopt(target, counted) {
    this.#target = target;
    this.state.remark(STATES, target.state);
    set(this.element, "data-tone", ["healthy", "unknown"].includes(target.state) ? null : (STATES[target.state]?.[1] ?? "off"));
    put(this.model, [target.format.replaceAll("_", " "), target.routes.length ? `on ${target.routes.join(", ")}` : "on no route"].join(" · "));
    set(this.model, "title", this.model.shownText);
    put(this.flight, target.in_flight || "–");
    const pace = target.latency.first.answers ? target.latency.first : target.latency.plain;
    put(this.latency, pace.answers ? `${seconds(pace.p50_s)} / ${seconds(pace.p95_s)}` : "–");
    put(this.success, counted ? percent(counted.success_rate) : "–");
    put(this.cost, dollars(this.all.costs.get(this.name)));
    this.#limit(target.limits);
    put(this.button, target.enabled ? "Disable" : "Enable");
    set(this.button, "aria-label", `${target.enabled ? "Disable" : "Enable"} ${this.name}`);
    if (this.isOpen) this.#tell();
  }

  tick(now) {
    const target = this.#target;
    if (target === null) return;
    const rest = target.until !== null && target.until > now ? `, ${seconds(Math.ceil(target.until - now))} more` : "";
    const share = target.state === "recovering" ? `, ${Math.round(100 * target.share)} % of its traffic` : "";
    const why = ["healthy", "unknown"].includes(target.state) ? "" : target.cause ? `${target.cause.kind.replaceAll("_", " ")}: ${target.cause.message}` : "";
    put(this.cause, [rest.slice(2) || share.slice(2), why].filter(Boolean).join(" · "));
    this.#flow(now);
  }

  toggle() {
    const open = !this.isOpen;
    set(this.opener, "aria-expanded", String(open));
    if (!open) return this.more.remove();
    this.#tell();
    this.element.after(this.more);
  }

  switch() {
    const verb = this.#target.enabled ? "disable" : "enable";
    this.act(["targets", this.name, verb], undefined, `${this.name} is ${verb}d`);
  }

  #whole() {
    const spark = draw("svg", { class: "spark", viewBox: `0 0 ${TRAFFIC_S} ${SPARK}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.good, this.bad);
    return make(
      "tr", { role: "row", class: "target" },
      make("th", { scope: "row", role: "rowheader", class: "name" }, this.opener, this.model),
      make("td", { role: "cell", class: "state" }, this.state, this.cause),
      make("td", { role: "cell", class: "traffic" }, spark, this.rate),
      this.flight, this.latency, this.success, this.cost, this.limits,
      make("td", { role: "cell", class: "controls" }, this.button),
    );
  }

  #flow(now) {
    const { counts, failures } = this.all.trafficOf(this.name).series(now);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const failed = failures.reduce((sum, count) => sum + count, 0);
    if (total + failed === 0 && !this.#flowing) return;
    this.#flowing = total + failed > 0;
    const top = Math.max(4, ...counts, ...failures);
    set(this.good, "d", bars(counts, top));
    set(this.bad, "d", bars(failures, top));
    put(this.rate, total ? `${amount(total)}/min${failed ? `, ${amount(failed)} failed` : ""}` : failed ? `${amount(failed)} failed` : "–");
  }

  /** The limit that is nearest. */
  #limit(limits) {
    const known = limits.filter((one) => one.limit).map((one) => ({ ...one, share: 1 - (one.room ?? one.limit) / one.limit }));
    const next = known.sort((a, b) => b.share - a.share)[0];
    set(this.meter, "hidden", !next);
    put(this.room, next ? used(next) : "–");
    set(this.limits, "data-empty", !next);
    if (!next) return;
    style(this.meter.firstChild, "--share", `${Math.round(100 * next.share)}%`);
    set(this.meter, "data-tone", next.share > 0.95 ? "bad" : next.share > 0.8 ? "warn" : "good");
  }

  /** Everything about it; written anew only where it is different, and never under somebody's fingers. */
  #tell() {
    const cell = this.more.firstChild;
    const told = JSON.stringify([this.#target.scopes, this.#target.limits, this.#target.last_failure, this.#target.probe, this.#target.answered_at]);
    if (cell.told === told || cell.contains(document.activeElement)) return;
    cell.told = told;
    cell.replaceChildren(this.#facts(), this.#breakers(), this.#checks());
  }

  #facts() {
    const { last_failure: failure, probe, limits, ...target } = this.#target;
    const facts = [
      ["Model", target.model],
      ["Key", target.key],
      ["Last answered", target.answered_at ? clock(target.answered_at) : "not yet"],
      failure && ["Last failure", `${clock(failure.at)} · ${[failure.status, failure.kind.replaceAll("_", " ")].filter(Boolean).join(" ")} · ${failure.message}`],
      probe && ["Last health check", `${clock(probe.at)} · ${probe.failure ?? `well, in ${seconds(probe.seconds)}`}`],
      target.obstacle && !target.until && ["In the way", target.obstacle],
      ...limits.map((one) => ["Limit", `${used(one)} used`]),
      target.context_tokens && ["Context", `${amount(target.context_tokens)} tokens`],
    ].filter(Boolean);
    return make("dl", { class: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  }

  #breakers() {
    const list = make("ul", { class: "breakers", "aria-label": `Circuit breakers of ${this.name}` });
    for (const scope of this.#target.scopes) list.append(this.#breaker(scope));
    return list;
  }

  #breaker(scope) {
    const buttons = [["Hold open", true, "held open"], ["Hold closed", false, "held closed"], ["Release", null, "released"]];
    return make(
      "li", {},
      make("span", { class: "quiet" }, scope.scope), make("b", {}, scope.name), mark(STATES, scope.state, BREAKER[scope.state]),
      make("span", { class: "quiet" }, scope.calls ? `${scope.failures ?? 0} of ${scope.calls} calls failed` : ""),
      make("span", { class: "buttons" }, ...buttons.map(([words, open, done]) =>
        make("button", { type: "button", "aria-label": `${words}: breaker of ${scope.name}`, click: () =>
          this.act(["breakers", scope.name], { open }, `The breaker of ${scope.name} is ${done}`) }, words))),
    );
  }

  #checks() {
    const check = (word) => this.act(["targets", this.name, "health"], { word }, (said) => `${this.name}: ${said.state}${said.failure ? `, ${said.failure}` : ` (asked: ${said.asked}, ${seconds(said.seconds)})`}`);
    return make(
      "p", { class: "buttons" },
      make("button", { type: "button", click: () => check(false) }, "Check health"),
      make("button", { type: "button", click: () => check(true) }, "Ask for one word (billed)"),
    );
  }
}

/** What a scope's state is called as that of a circuit breaker. */
const BREAKER = { healthy: "closed", unknown: "closed, no answer yet", degraded: "closed, degraded", forced_open: "held open", forced_closed: "held closed" };

const used = (limit) => `${amount(limit.limit - (limit.room ?? 0))} of ${amount(limit.limit)} ${unit(limit)}`;

const unit = ({ unit: name, window_s: window }) =>
  `${UNITS[name] ?? name.replaceAll("_", " ")}${window ? (window === 60 ? "/min" : window === 86400 ? "/day" : window === 1 ? "/s" : ` in ${seconds(window)}`) : ""}`;

const bars = (counts, top) =>
  counts.map((count, at) => (count ? `M${at + 0.1} ${SPARK}v${(-SPARK * count / top).toFixed(1)}h.8V${SPARK}z` : "")).join("");
