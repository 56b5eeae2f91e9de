// The page begins here: who may see it, how news becomes pictures, and what an operator does.

import { Charts } from "./charts.js";
import { amount, clock, dollars, find, make, percent, put, seconds, set } from "./dom.js";
import { Feed, Gateway } from "./gateway.js";
import { Lists } from "./lists.js";
import { KINDS, Model, WINDOWS, quantile } from "./model.js";
import { Targets } from "./targets.js";
import { Timeline } from "./timeline.js";

const DRAW_MS = 250; // how often facts become pictures, however many there are
const TICK_MS = 1000;
const ASK_MS = 5000; // how often the gateway is asked how it stands where nothing has changed
const SOON_MS = 100; // where something has
const SAY_MS = 3000; // between two announcements of failovers
const TURNS = new Set(["turned", "operated", "budget_exceeded"]);
const RECORDS = 1000;
const SAMPLE = 200; // records from which the cost of the latest requests is known
const BACK_S = 120;
const BUSY = 500; // requests between two questions
const BUSY_MS = 30000;
const THEME = "unbroken.theme";

const gateway = new Gateway();
const model = new Model();
const timeline = new Timeline(gateway);
const charts = new Charts();
const targets = new Targets(model, act);
let lists = null;
let asking = 0; // timers: of the next question, and of the next picture
let drawing = 0;
let notice = 0;
let saidAt = 0;
let heardAt = 0;
let billedAt = 0;

// ------------------------------------------------------------------- who may see it

const feed = new Feed(gateway, KINDS, {
  async begin() {
    const status = await gateway.get(["status"]);
    const [{ requests }, statistics] = await Promise.all([gateway.get(["requests"], { limit: RECORDS }), gateway.get(["statistics"])]);
    gateway.keep();
    model.forget();
    model.adopt(status);
    model.statistics = statistics;
    model.remember(requests);
    await open();
    return status.event;
  },
  facts(facts) {
    heardAt = Date.now();
    model.fold(facts);
    if (facts.some((fact) => TURNS.has(fact.kind))) ask(SOON_MS);
    draw();
  },
  state: linked,
  refused(problem) {
    gateway.forget();
    enter(problem.status === 401 ? "This key is not known here." : problem.message);
  },
});

function enter(problem = "") {
  feed.stop();
  clearTimeout(asking);
  asking = 0;
  timeline.dialog.close();
  for (const id of ["board", "reload", "leave", "alert"]) find(id).hidden = true;
  find("entry").hidden = false;
  linked("idle");
  put(find("about"), "");
  put(find("keyProblem"), problem);
  set(find("key"), "aria-invalid", problem ? "true" : null);
  find("key").focus();
}

async function open() {
  lists ??= new Lists(model, { open: (id) => timeline.open(id), act, strategies: await strategies() });
  for (const id of ["board", "reload", "leave"]) find(id).hidden = false;
  if (!find("entry").hidden) {
    find("entry").hidden = true;
    find("targets").focus({ preventScroll: true });
  }
  paint();
  stand();
  ask(ASK_MS);
}

async function strategies() {
  const response = await fetch("dashboard/strategies.json");
  return response.ok ? response.json() : [];
}

function linked(state, wait = 0) {
  const alert = find("alert");
  set(find("link"), "data-state", state);
  put(find("linkWords"), { live: "live", lost: "connection lost", idle: "not connected" }[state]);
  set(find("board"), "data-stale", state === "lost");
  if (state !== "lost") {
    alert.hidden = true;
    return;
  }
  const since = heardAt ? ` What is shown is as of ${clock(heardAt / 1000)}.` : "";
  alert.replaceChildren(
    make("span", {}, `Connection to the gateway lost. Trying again in ${seconds(wait)}.${since} `),
    make("button", { type: "button", click: () => feed.retry() }, "Try now"),
  );
  alert.hidden = false;
  if (lists === null) find("entry").hidden = true;
}

// ------------------------------------------------------------------ news into pictures

/** Ask how it stands, so soon; a question that comes sooner counts. */
function ask(wait) {
  if (asking && wait > SOON_MS) return;
  clearTimeout(asking);
  asking = setTimeout(async () => {
    try {
      if (!document.hidden || wait === SOON_MS) await standing();
    } catch {
      // The feed notices too, says so, and begins anew.
    }
    asking = 0;
    if (!find("board").hidden) ask(ASK_MS);
  }, wait);
}

async function standing() {
  const [status, statistics] = await Promise.all([gateway.get(["status"]), gateway.get(["statistics"])]);
  heardAt = Date.now();
  model.adopt(status);
  model.statistics = statistics;
  stand();
  await bills();
}

/** Ask what requests have cost; seldom where there are many, as the gateway puts records together for it. */
async function bills() {
  const ended = model.ended_unbilled;
  if (ended === 0 || (ended > BUSY && Date.now() - billedAt < BUSY_MS)) return;
  billedAt = Date.now();
  const { requests } = await gateway.get(["requests"], { limit: SAMPLE, since: model.now - BACK_S });
  model.bill(requests);
}

function stand() {
  const { status } = model;
  targets.update();
  lists.adopt(status);
  const config = status.config.source ? ` · ${status.config.source.split("/").at(-1)}` : "";
  put(find("about"), `${status.version} · up ${seconds(status.uptime_s)}${config}`);
  figures();
}

/** Draw what has come, at most once in a while, and not where nobody looks. */
function draw() {
  if (drawing || document.hidden) return;
  drawing = setTimeout(() => requestAnimationFrame(paint), DRAW_MS);
}

function paint() {
  drawing = 0;
  if (lists === null || find("board").hidden) return;
  lists.update();
  announce();
}

function tick() {
  if (document.hidden || lists === null || find("board").hidden) return;
  targets.tick();
  charts.update(model.window(), model.span);
  figures();
  if (!drawing) lists.update();
}

function announce() {
  if (model.news.length === 0 || Date.now() - saidAt < SAY_MS) return;
  saidAt = Date.now();
  const last = model.news.at(-1);
  const from = last.failures[0]?.target;
  const words = model.news.length === 1
    ? `Failover on ${last.route}: ${from ? `from ${from} ` : ""}to ${last.target || "nobody"}.`
    : `${model.news.length} failovers, the last on ${last.route} to ${last.target || "nobody"}.`;
  put(find("announcer"), words);
  model.news = [];
}

function figures() {
  const window = model.window();
  const sum = (name) => window.reduce((total, bucket) => total + bucket[name], 0);
  const latencies = window.flatMap((bucket) => bucket.latencies);
  const requests = sum("requests");
  const { attempts, waiting } = model.status.requests;
  const dropped = Object.values(model.status.sinks.dropped ?? {}).reduce((total, count) => total + count, 0);
  show([
    ["Requests", `${amount(model.minute())}/min`, `${amount(requests)} in ${model.span}`],
    ["Answered", requests ? percent(1 - sum("failed") / requests) : "–", `${amount(sum("failed"))} failed`, sum("failed") ? "bad" : ""],
    ["Failovers", amount(sum("failovers")), requests ? `${percent(sum("failovers") / requests)} of all` : "of all"],
    ["Latency p50", seconds(quantile(latencies, 0.5)), `p95 ${seconds(quantile(latencies, 0.95))}`],
    ["Cost", dollars(sum("cost")), `${dollars(model.cost)} since ${clock(model.since)}`],
    ["In flight", amount(attempts), `${amount(waiting)} waiting${dropped ? `, ${amount(dropped)} facts lost` : ""}`],
  ]);
}

const tiles = new Map();

function show(all) {
  for (const [name, value, more, tone = ""] of all) {
    if (!tiles.has(name)) {
      const tile = { value: make("dd", { class: "value" }), more: make("dd", { class: "quiet" }) };
      find("figures").append(make("div", {}, make("dt", {}, name), tile.value, tile.more));
      tiles.set(name, tile);
    }
    put(tiles.get(name).value, value);
    put(tiles.get(name).more, more);
    set(tiles.get(name).more, "data-tone", tone || null);
  }
}

// ----------------------------------------------------------------- what an operator does

/** Do this, and say what came of it: `done` is the words, or makes them of the answer. */
async function act(path, body, done) {
  try {
    const said = await gateway.post(path, body);
    say(typeof done === "function" ? done(said) : done);
  } catch (problem) {
    if (problem.status === 401) return enter("This key is not known here.");
    say(`Not done: ${problem.message}`, "bad");
  }
  ask(SOON_MS);
}

function say(words, tone = "good") {
  const place = find("notice");
  put(place, words);
  set(place, "data-tone", tone);
  place.hidden = false;
  clearTimeout(notice);
  notice = setTimeout(() => { place.hidden = true; }, tone === "bad" ? 12000 : 5000);
}

find("span").append(...Object.keys(WINDOWS).map((words) => make("option", { value: words }, words)));
find("span").addEventListener("input", ({ target }) => {
  model.span = target.value;
  tick();
});

function themed(choice) {
  find("theme").value = choice;
  set(document.documentElement, "data-theme", choice === "auto" ? null : choice);
}

find("keyForm").addEventListener("submit", (event) => {
  event.preventDefault();
  gateway.use(find("key").value);
  find("key").value = "";
  put(find("keyProblem"), "");
  feed.start();
});
find("leave").addEventListener("click", () => {
  gateway.forget();
  location.reload(); // nothing of what was shown is left
});
find("reload").addEventListener("click", () =>
  act(["reload"], undefined, (said) => said.changes?.length ? `Configuration read anew: ${said.changes.join(", ")}` : "Configuration read anew: nothing has changed"));
find("theme").addEventListener("input", ({ target }) => {
  localStorage.setItem(THEME, target.value);
  themed(target.value);
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden || lists === null || find("board").hidden) return;
  tick();
  draw();
  ask(SOON_MS);
});

themed(["light", "dark"].includes(localStorage.getItem(THEME)) ? localStorage.getItem(THEME) : "auto");
setInterval(tick, TICK_MS);
if (gateway.hasKey) feed.start();
else enter();
