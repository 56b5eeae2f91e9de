// What happens, the newest first: failovers, requests, changes; and routes and budgets as they stand.

import { amount, arrange, clock, dollars, find, listed, make, put, seconds, set, style } from "./dom.js";
import { OUTCOMES, STATES, mark } from "./marks.js";
import { isAround } from "./model.js";

const FAILOVERS = 30;
const REQUESTS = 40;
const CHANGES = 30;

/** Lines of the newest entries, made once for each place and written over. */
class Lines {
  #lines = [];
  #shown = "";

  constructor(id, most, { line, empty }) {
    this.list = find(id);
    Object.assign(this, { most, line });
    this.empty = make("li", { class: "empty" }, empty);
    this.list.append(this.empty);
  }

  /** Whether somebody is about to click on one of them. */
  get isHeld() {
    return this.list.matches(":hover") || this.list.contains(document.activeElement);
  }

  update(entries) {
    const kept = entries.slice(0, this.most);
    const shown = `${kept.length} ${kept.map((entry) => entry.id ?? `${entry.at} ${entry.kind}`).join(" ")}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    while (this.#lines.length < kept.length) this.#lines.push(this.line());
    kept.forEach((entry, at) => this.#lines[at].show(entry));
    arrange(this.list, kept.length ? this.#lines.slice(0, kept.length).map((line) => line.element) : [this.empty]);
  }
}

/** A line that opens a request. */
function requestLine(open, told) {
  const time = make("time");
  const state = mark();
  const main = make("span", { class: "main" });
  const more = make("span", { class: "quiet message" });
  let id = "";
  const button = make("button", { type: "button", class: "line", click: () => open(id) }, time, state, main, more);
  const show = (entry) => {
    id = entry.id;
    put(time, clock(entry.at));
    const { outcome, words, about, detail } = told(entry);
    state.remark(OUTCOMES, outcome, words);
    put(main, about);
    put(more, detail);
    set(more, "hidden", !detail);
  };
  return { element: make("li", {}, button), show };
}

/** A line that only tells. */
function changeLine() {
  const time = make("time");
  const state = mark();
  const main = make("span", { class: "main" });
  const more = make("span", { class: "quiet message" });
  const show = (fact) => {
    const { known = OUTCOMES, outcome, words, about, detail = "" } = CHANGES_TOLD[fact.kind](fact);
    put(time, clock(fact.at));
    state.remark(known, outcome, words);
    put(main, about);
    put(more, detail);
    set(more, "hidden", !detail);
  };
  return { element: make("li", {}, make("div", { class: "line" }, time, state, main, more)), show };
}

const CHANGES_TOLD = {
  turned: ({ target, state, before, cause }) => ({
    known: STATES, outcome: state, about: target,
    detail: [`was ${STATES[before]?.[0] ?? before}`, cause].filter(Boolean).join(" · "),
  }),
  operated: ({ who, what, about, to, problem }) => ({
    outcome: problem ? "failed" : "rescued", words: `operator: ${what}`,
    about: [about, to].filter(Boolean).join(": "), detail: [who, problem].filter(Boolean).join(" · "),
  }),
  shed: ({ route, failure }) => ({ outcome: "failed", words: "turned away", about: route, detail: failure?.message }),
  budget_exceeded: ({ budget, spent_usd: spent, limit_usd: limit, then }) => ({
    outcome: "degraded", words: "budget used up", about: budget,
    detail: `${dollars(spent ?? 0)} of ${dollars(limit ?? 0)} · ${then}`,
  }),
};

export class Lists {
  constructor(model, { open, act, strategies }) {
    Object.assign(this, { model, act, strategies });
    this.failovers = new Lines("failovers", FAILOVERS, {
      line: () => requestLine(open, (entry) => failover(entry, model.status)), empty: "None in this time: every request was answered where it was first sent.",
    });
    this.requests = new Lines("requests", REQUESTS, { line: () => requestLine(open, request), empty: "No request yet." });
    this.changes = new Lines("changes", CHANGES, { line: changeLine, empty: "Nothing has changed since this page was opened." });
    this.routes = new Cards("routes", (name) => this.#route(name), "No route is configured.");
    this.budgets = new Cards("budgets", (name) => budgetCard(name), "No budget is configured.");
    find("which").addEventListener("input", () => this.#requests());
  }

  /** What has happened; a list that somebody points at stands still. */
  update() {
    const { model } = this;
    if (!this.failovers.isHeld) this.failovers.update(model.failovers);
    if (!this.requests.isHeld) this.#requests();
    put(find("held"), this.requests.isHeld ? "paused while you are here" : "");
    this.changes.update(model.changes);
  }

  /** How it stands. */
  adopt(status) {
    this.routes.update(status.routes);
    this.budgets.update(status.budgets);
  }

  #requests() {
    this.requests.update(CHOICES[find("which").value](this.model.requests));
  }

  #route(name) {
    const state = mark();
    const usable = make("span", { class: "quiet" });
    const targets = make("p", { class: "quiet clip" });
    const choice = make("select", { "aria-label": `Strategy of ${name}`, input: () => choose() },
      ...this.strategies.map((one) => make("option", { value: one }, one)));
    const choose = () => this.act(["routes", name, "strategy"], { strategy: choice.value }, `${name} chooses by ${choice.value} now`);
    const element = make("li", {}, make("div", { class: "bar" }, make("b", { class: "name" }, name), state, usable, make("label", {}, "Strategy ", choice)), targets);
    const show = (route) => {
      state.remark(OUTCOMES, route.state);
      put(usable, `${route.usable} of ${route.targets.length} usable`);
      const others = route.aliases.length ? ` · also called ${route.aliases.join(", ")}` : "";
      put(targets, `${listed(route.targets)}${others}`);
      if (document.activeElement !== choice && choice.value !== route.strategy) choice.value = route.strategy;
    };
    return { element, show };
  }
}

function failover(entry, status) {
  const around = isAround(entry);
  const failed = around ? resting(status, entry) : entry.failures.map((one) => one.target);
  const froms = [...new Set(failed)].filter((name) => name !== entry.target).slice(0, 3).join(", ");
  const last = entry.failures.at(-1);
  const words = entry.failure ? "failed everywhere" : entry.rescued ? "rescued in mid-stream" : around ? "routed around" : "failed over";
  return {
    outcome: entry.failure ? "failed" : entry.rescued ? "rescued" : "failover",
    words: entry.times ? `${words}, ${amount(entry.times)} times` : words,
    about: `${froms || (around ? "first choice" : "slower target")} → ${entry.target || "nobody"}`,
    detail: [entry.route, last ? [last.kind.replaceAll("_", " "), last.message].filter(Boolean).join(": ") : ""].filter(Boolean).join(" · "),
  };
}

/** The targets that stand before this one on the route, and are asked nothing now. */
function resting(status, { route, target }) {
  const names = status.routes.find((one) => one.name === route)?.targets ?? [];
  const before = new Set(names.slice(0, Math.max(0, names.indexOf(target))));
  return status.targets.filter((one) => before.has(one.name) && !one.usable).map((one) => one.name);
}

function request(entry) {
  const outcome = entry.failure ? (entry.failure.kind === "cancelled" ? "abandoned" : "failed") : entry.rescued ? "rescued" : entry.failover ? "failover" : "answered";
  return {
    outcome, words: entry.failure ? entry.failure.kind.replaceAll("_", " ") : seconds(entry.total_s),
    about: [entry.route, entry.target].filter(Boolean).join(" → "),
    detail: entry.failure ? (entry.failure.message ?? "") : entry.stale ? "an older answer" : entry.attempts > 1 ? `${entry.attempts} attempts` : "",
  };
}

const CHOICES = {
  all: (requests) => requests,
  failed: (requests) => requests.filter((entry) => entry.failure !== null),
  slow: (requests) => [...requests].sort((a, b) => b.total_s - a.total_s),
};

/** One card for each of what has a name. */
class Cards {
  #cards = new Map();

  constructor(id, card, empty) {
    this.list = find(id);
    this.card = card;
    this.empty = make("li", { class: "empty" }, empty);
  }

  update(all) {
    const names = new Set(all.map((one) => one.name));
    for (const name of this.#cards.keys()) if (!names.has(name)) this.#cards.delete(name);
    for (const one of all) {
      if (!this.#cards.has(one.name)) this.#cards.set(one.name, this.card(one.name));
      this.#cards.get(one.name).show(one);
    }
    arrange(this.list, all.length ? all.map((one) => this.#cards.get(one.name).element) : [this.empty]);
  }
}

function budgetCard(name) {
  const words = make("span");
  const then = make("span", { class: "quiet" });
  const meter = make("span", { class: "meter wide", role: "meter", "aria-label": `Budget ${name}`, "aria-valuemin": "0", "aria-valuemax": "100" }, make("span"));
  const element = make("li", {}, make("div", { class: "bar" }, make("b", { class: "name" }, name), words, then), meter);
  const show = (budget) => {
    const share = budget.usd_per_day ? (budget.spent_usd + budget.held_usd) / budget.usd_per_day : 1;
    put(words, `${dollars(budget.spent_usd)} of ${dollars(budget.usd_per_day)} today`);
    const about = [budget.route && `route ${budget.route}`, budget.key && `key ${budget.key}`].filter(Boolean).join(", ");
    put(then, [about, `then: ${budget.then}`, `resets in ${seconds(budget.resets_s)}`].filter(Boolean).join(" · "));
    style(meter.firstChild, "--share", `${Math.min(100, Math.round(100 * share))}%`);
    set(meter, "data-tone", share >= 1 ? "bad" : share > 0.8 ? "warn" : "good");
    set(meter, "aria-valuenow", String(Math.min(100, Math.round(100 * share))));
  };
  return { element, show };
}
