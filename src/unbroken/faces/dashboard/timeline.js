// One request from its first attempt to its last: who could have answered, who was asked when, and how that ended.

import { amount, clock, dollars, find, listed, make, seconds } from "./dom.js";
import { OUTCOMES, mark } from "./marks.js";

export class Timeline {
  #gateway;
  #wanted = 0;

  constructor(gateway) {
    this.#gateway = gateway;
    this.dialog = find("timeline");
    find("timelineClose").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close(); // beside it
    });
  }

  async open(id) {
    const wanted = ++this.#wanted;
    find("timelineTitle").textContent = `Request ${id}`;
    find("timelineBody").replaceChildren(make("p", { class: "quiet" }, "Asking the gateway …"));
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const record = await this.#gateway.get(["requests", id]);
      if (wanted === this.#wanted) find("timelineBody").replaceChildren(...pictured(record));
    } catch (error) {
      if (wanted === this.#wanted) find("timelineBody").replaceChildren(make("p", { class: "problem" }, error.message));
    }
  }
}

function pictured(record) {
  return [summary(record), attempts(record), skipped(record), notes(record), words(record)].filter(Boolean);
}

function summary(record) {
  const facts = [
    ["At", clock(record.at)],
    ["Route", `${record.route || "–"}${record.strategy ? ` (${record.strategy})` : ""}`],
    ["Answered by", record.target || "nobody"],
    ["Time", seconds(record.total_s)],
    record.first_content_s !== null && ["First content", seconds(record.first_content_s)],
    ["Tokens", `${amount(record.input_tokens)} in, ${amount(record.output_tokens)} out${record.estimated ? " (estimated)" : ""}`],
    ["Cost", dollars(record.cost_usd)],
    ["Kind", `${record.task}${record.stream ? ", streamed" : ""}`],
    record.cache && ["Cache", `${record.cache}, ${seconds(record.age_s)} old`],
    record.status && ["The caller saw", String(record.status)],
  ].filter(Boolean);
  const known = record.outcome === "answered" ? (record.rescued ? "rescued" : record.failover ? "failover" : "answered") : "failed";
  const said = record.outcome in OUTCOMES ? undefined : `failed: ${record.outcome.replaceAll("_", " ")}`;
  return make(
    "div", { class: "summary" },
    make("p", {}, mark(OUTCOMES, record.outcome === "under way" ? "under way" : known, said)),
    record.message ? make("p", { class: "message" }, record.message) : null,
    make("dl", {}, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
  );
}

function attempts(record) {
  if (record.attempts.length === 0) return make("p", { class: "quiet" }, "No attempt is recorded.");
  const ends = record.attempts.map((one) => one.start_s + (one.total_s ?? 0));
  const whole = Math.max(record.total_s ?? 0, ...ends, 0.001);
  return make(
    "section", {}, make("h3", {}, "Attempts"),
    make("ol", { class: "attempts" }, ...record.attempts.map((one) => attempt(one, whole))),
    make("p", { class: "axis", "aria-hidden": "true" }, make("span", {}, "0"), make("span", {}, seconds(whole / 2)), make("span", {}, seconds(whole))),
  );
}

function attempt(one, whole) {
  const known = one.outcome in OUTCOMES ? one.outcome : "failed";
  const track = make("div", { class: "track", "aria-hidden": "true" });
  const bar = make("div", { class: "span" });
  bar.dataset.tone = OUTCOMES[known][1];
  const share = (value) => `${Math.min(100, (100 * value) / whole)}%`;
  bar.style.setProperty("--from", share(one.start_s));
  bar.style.setProperty("--long", share(one.total_s ?? whole - one.start_s));
  track.append(bar);
  if (one.first_content_s !== null) {
    const first = make("div", { class: "first" });
    first.style.setProperty("--from", share(one.start_s + one.first_content_s));
    track.append(first);
  }
  const said = known === "failed" ? [one.status, one.outcome.replaceAll("_", " ")].filter(Boolean).join(" ") : undefined;
  return make(
    "li", {},
    make("div", { class: "who" }, make("b", {}, one.target), make("span", { class: "quiet" }, `attempt ${one.number}, ${one.why.replaceAll("_", " ")}`)),
    track,
    make(
      "div", { class: "what" }, mark(OUTCOMES, known, said),
      make("span", { class: "quiet" }, told(one)),
      one.message ? make("span", { class: "message" }, one.message) : null,
    ),
  );
}

function told(one) {
  const parts = [`from ${seconds(one.start_s)}`, `took ${seconds(one.total_s)}`];
  if (one.first_content_s !== null) parts.push(`first content after ${seconds(one.first_content_s)}`);
  if (one.shown && one.outcome !== "answered") parts.push("the caller had seen some of it");
  if (one.mode) parts.push(`continued after ${amount(one.after_chars)} characters (${one.mode.replaceAll("_", " ")})`);
  if (one.counted !== "none") parts.push(`${amount(one.input_tokens)} + ${amount(one.output_tokens)} tokens${one.counted === "estimate" ? " (estimated)" : ""}`);
  if (one.cost_usd) parts.push(dollars(one.cost_usd));
  if (one.left_out.length) parts.push(`without ${one.left_out.join(", ")}`);
  return parts.join(" · ");
}

function skipped(record) {
  if (!record.skipped.length && !record.candidates.length) return null;
  return make(
    "section", {}, make("h3", {}, "Candidates"),
    record.candidates.length ? make("p", {}, "In this order: ", make("span", { class: "name" }, listed(record.candidates))) : null,
    make("ul", { class: "plain" }, ...record.skipped.map(([name, reason]) =>
      make("li", {}, make("b", {}, name), make("span", { class: "quiet" }, ` skipped: ${reason}`)))),
  );
}

function notes(record) {
  if (!record.notes.length) return null;
  return make("section", {}, make("h3", {}, "Notes"), make("ul", { class: "plain" }, ...record.notes.map((note) => make("li", {}, note))));
}

/** The words of prompt and answer, where the operator has them kept. */
function words(record) {
  if (!record.prompt && !record.answer) return null;
  return make("section", {}, make("h3", {}, "Words"), make("pre", {}, record.prompt), make("pre", {}, record.answer));
}
