// What the page shows, folded from facts and from what the gateway tells when asked; nothing here knows the page.

/** The kinds of facts that are folded; no other is asked for. */
export const KINDS = [
  "attempt_started", "attempt_failed", "flight_ended", "cache_answered", "turned", "operated", "shed", "budget_exceeded",
];
/** How far back the page looks: the words, the seconds of one of the BUCKETS, and what stands below a chart. */
export const WINDOWS = {
  "5 min": { step_s: 2, ticks: ["−5 min", "−4", "−3", "−2", "−1", "now"] },
  "30 min": { step_s: 12, ticks: ["−30 min", "−20", "−10", "now"] },
  "3 h": { step_s: 72, ticks: ["−3 h", "−2", "−1", "now"] },
};
export const BUCKETS = 150;
export const TRAFFIC_S = 60;
const SAMPLES = 200; // latencies kept of a bucket: enough for its 95th percentile
const LISTED = 200; // requests, failovers and changes kept
const UNDER_WAY = 5000;
const BILLED = 5000; // requests whose cost is known to be counted
const AROUND = 6; // among so many lines, one more request that was routed around something joins its like

/** Counts of the last minute, by the second. */
export class Traffic {
  #counts = new Array(TRAFFIC_S).fill(0);
  #failures = new Array(TRAFFIC_S).fill(0);
  #second = 0;

  count(at, failed = false) {
    const second = Math.floor(at);
    this.#advance(second);
    if (second > this.#second - TRAFFIC_S) (failed ? this.#failures : this.#counts)[second % TRAFFIC_S]++;
  }

  /** From the oldest second to this one: how many were sent out, and how many failed. */
  series(now) {
    this.#advance(Math.floor(now));
    const turn = (list) => list.map((_, at) => list[(this.#second + 1 + at) % TRAFFIC_S]);
    return { counts: turn(this.#counts), failures: turn(this.#failures) };
  }

  total(now) {
    this.#advance(Math.floor(now));
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  #advance(second) {
    const steps = Math.min(TRAFFIC_S, second - this.#second);
    for (let step = 1; step <= steps; step++) {
      const place = (second - steps + step) % TRAFFIC_S;
      this.#counts[place] = this.#failures[place] = 0;
    }
    this.#second = Math.max(this.#second, second);
  }
}

/** What happened over a while, in buckets of the same length. */
class Series {
  #buckets = new Map();

  constructor(step_s) {
    this.step_s = step_s;
  }

  /** The bucket of this moment. */
  at(moment) {
    const number = Math.floor(moment / this.step_s);
    if (!this.#buckets.has(number)) {
      this.#buckets.set(number, this.#empty(number));
      for (const old of this.#buckets.keys()) if (old < number - BUCKETS) this.#buckets.delete(old);
    }
    return this.#buckets.get(number);
  }

  /** From the oldest bucket to that of now, empty ones too. */
  until(now) {
    const last = Math.floor(now / this.step_s);
    return Array.from({ length: BUCKETS }, (_, at) => {
      const number = last - BUCKETS + 1 + at;
      return this.#buckets.get(number) ?? this.#empty(number);
    });
  }

  #empty(number) {
    return { at: number * this.step_s, requests: 0, failovers: 0, failed: 0, cost: 0, seen: 0, latencies: [] };
  }
}

export class Model {
  constructor() {
    this.status = null;
    this.statistics = null;
    this.ahead_s = 0; // how far the gateway's clock is ahead of ours
    this.changes = [];
    this.span = Object.keys(WINDOWS)[0];
    this.forget();
  }

  /** Begin anew, as after a gap: what is known comes from the records again. */
  forget() {
    this.requests = [];
    this.failovers = [];
    this.traffic = new Map();
    this.series = new Map(Object.entries(WINDOWS).map(([words, { step_s }]) => [words, new Series(step_s)]));
    this.statistics = null;
    this.news = [];
    this.#failures = new Map();
    this.#recorded = new Set();
    this.#spared = new Set();
    this.#billed = new Set();
    this.costs = new Map();
    this.cost = 0;
    this.ended_unbilled = 0;
    this.since = this.now;
  }

  #failures = new Map(); // by request, its attempts that failed
  #recorded = new Set(); // requests that came as records, and will come as facts too
  #spared = new Set(); // requests that failed, or will, and get an older answer all the same
  #billed = new Set();

  get now() {
    return Date.now() / 1000 + this.ahead_s;
  }

  adopt(status) {
    this.status = status;
    this.ahead_s = status.now - Date.now() / 1000;
  }

  /** Records of requests that are over, the newest first, from before there were facts. */
  remember(records) {
    for (const record of [...records].reverse()) {
      if (record.outcome === "under way") continue;
      this.#recorded.add(record.id);
      this.#end(entryOf(record));
      for (const one of record.attempts ?? []) this.#attempted(one, record.at);
      this.since = Math.min(this.since, record.at);
    }
    this.ended_unbilled = 0;
    this.bill(records);
    this.news = [];
  }

  /**
   * Take the cost of these requests into account, which facts do not tell.  Where so many have ended
   * that these are only the latest of them, they stand for the others too.
   */
  bill(records) {
    const fresh = records.filter((record) => record.outcome !== "under way" && !this.#billed.has(record.id));
    const weight = Math.max(1, this.ended_unbilled / (fresh.length || 1));
    this.ended_unbilled = 0;
    for (const record of fresh) {
      this.#billed.add(record.id);
      this.#spend(record.at + (record.total_s ?? 0), weight * (record.cost_usd ?? 0));
      for (const { target, cost_usd: cost } of record.attempts ?? []) {
        if (cost !== null) this.costs.set(target, (this.costs.get(target) ?? 0) + weight * cost);
      }
    }
    while (this.#billed.size > BILLED) this.#billed.delete(this.#billed.values().next().value);
  }

  fold(facts) {
    for (const fact of facts) FOLDS[fact.kind]?.call(this, fact);
  }

  /** The buckets of the window that is looked at. */
  window() {
    return this.series.get(this.span).until(this.now);
  }

  /** How many requests ended in the last minute. */
  minute() {
    return this.series.get("5 min").until(this.now).slice(-30).reduce((sum, bucket) => sum + bucket.requests, 0);
  }

  trafficOf(target) {
    if (!this.traffic.has(target)) this.traffic.set(target, new Traffic());
    return this.traffic.get(target);
  }

  started(fact) {
    this.trafficOf(fact.target).count(fact.at);
  }

  failed(fact) {
    this.trafficOf(fact.target).count(fact.at, true);
    const known = this.#failures.get(fact.flight) ?? [];
    known.push({ target: fact.target, kind: fact.failure.kind, message: fact.failure.message ?? "" });
    this.#failures.set(fact.flight, known);
    if (this.#failures.size > UNDER_WAY) this.#failures.delete(this.#failures.keys().next().value);
  }

  ended(fact) {
    const failures = this.#failures.get(fact.flight) ?? [];
    this.#failures.delete(fact.flight);
    if (this.#recorded.delete(fact.flight)) return;
    this.ended_unbilled++;
    const stale = this.#spared.delete(fact.flight);
    this.#end({
      id: fact.flight, at: fact.at, route: fact.route ?? "", target: fact.target ?? "", failures,
      attempts: fact.attempts ?? 0, total_s: fact.total_s ?? 0, failover: Boolean(fact.failover),
      rescued: Boolean(fact.rescued), failure: stale ? null : fact.failure ?? null, stale,
    });
  }

  /** An older answer takes the place of a failure, which may be known already or not yet. */
  cached(fact) {
    if (fact.how !== "stale" || this.#recorded.has(fact.flight)) return;
    const entry = this.requests.find((one) => one.id === fact.flight);
    if (!entry) {
      this.#spared.add(fact.flight);
      if (this.#spared.size > UNDER_WAY) this.#spared.delete(this.#spared.values().next().value);
    } else if (entry.failure) {
      for (const series of this.series.values()) series.at(entry.at).failed -= entry.failure.kind !== "cancelled";
      Object.assign(entry, { failure: null, stale: true });
    }
  }

  change(fact) {
    this.changes.unshift(fact);
    this.changes.length = Math.min(this.changes.length, LISTED);
  }

  #end(entry) {
    for (const series of this.series.values()) count(series.at(entry.at), entry);
    keep(this.requests, entry);
    if (!entry.failover) return;
    this.news.push(entry);
    keep(this.failovers, isAround(entry) ? this.#joined(entry) : entry);
  }

  /** The entry, with those of its like that were here: while a breaker is open each request is routed around it. */
  #joined(entry) {
    const isLike = (one) => isAround(one) && one.target === entry.target && one.route === entry.route && !one.failure === !entry.failure;
    const at = this.failovers.slice(0, AROUND).findIndex(isLike);
    if (at < 0) return entry;
    const [like] = this.failovers.splice(at, 1);
    return { ...entry, times: (like.times ?? 1) + 1 };
  }

  #attempted(one, at) {
    const ended = one.outcome === "answered" || one.outcome === "abandoned" || one.outcome === "under way";
    this.trafficOf(one.target).count(at + one.start_s);
    if (!ended) this.trafficOf(one.target).count(at + one.start_s + (one.total_s ?? 0), true);
  }

  #spend(at, dollars) {
    this.cost += dollars;
    for (const series of this.series.values()) series.at(at).cost += dollars;
  }
}

/** Whether the first choice was not even asked, as its breaker was open. */
export const isAround = (entry) => entry.failures.length === 0 && entry.attempts <= 1;

function count(bucket, entry) {
  bucket.requests++;
  if (entry.failure) bucket.failed += entry.failure.kind !== "cancelled";
  else sample(bucket, entry.total_s);
  if (!entry.failure && entry.failover) bucket.failovers++;
}

const FOLDS = {
  attempt_started(fact) { this.started(fact); },
  attempt_failed(fact) { this.failed(fact); },
  flight_ended(fact) { this.ended(fact); },
  cache_answered(fact) { this.cached(fact); },
  turned(fact) { this.change(fact); },
  operated(fact) { this.change(fact); },
  shed(fact) { this.change(fact); },
  budget_exceeded(fact) { this.change(fact); },
};

function keep(list, entry) {
  list.unshift(entry);
  list.length = Math.min(list.length, LISTED);
}

/** A fair draw of the latencies of a bucket, however many there are. */
function sample(of, latency) {
  of.seen++;
  if (of.latencies.length < SAMPLES) of.latencies.push(latency);
  else if (Math.random() < SAMPLES / of.seen) of.latencies[Math.floor(Math.random() * SAMPLES)] = latency;
}

function entryOf(record) {
  const attempts = record.attempts ?? []; // of older ones the ledger lists none
  const failed = attempts.filter((one) => !["answered", "abandoned", "under way"].includes(one.outcome));
  const answered = record.outcome === "answered";
  return {
    id: record.id, at: record.at + (record.total_s ?? 0), route: record.route, target: record.target,
    attempts: record.attempts ? attempts.length : 2, total_s: record.total_s ?? 0, failover: record.failover, rescued: record.rescued,
    failures: failed.map((one) => ({ target: one.target, kind: one.outcome, message: one.message })),
    failure: answered ? null : { kind: record.outcome, message: record.message }, stale: record.cache === "stale",
  };
}

/** What is at this share of sorted values; null where there are none. */
export function quantile(values, share) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
