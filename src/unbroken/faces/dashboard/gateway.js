// `/admin` over HTTP.  The key is sent in a header and kept for this tab alone; it is in no address and no cookie.

const KEY = "unbroken.operator";
const WAITS_S = [0.5, 1, 2, 4, 8];
const SILENT_S = 40; // the gateway says something every 15 s, if only that it is there
const QUESTION_S = 15;

/** An answer that is none: `status` is 0 where nobody answered. */
export class Refused extends Error {
  constructor(status, message, code = "") {
    super(message);
    Object.assign(this, { status, code });
  }
}

export class Gateway {
  #key = sessionStorage.getItem(KEY) ?? "";

  get hasKey() {
    return this.#key !== "";
  }

  /** Go by this key from now on; it is only kept by `keep`, once it was good for something. */
  use(key) {
    this.#key = key.trim();
  }

  keep() {
    sessionStorage.setItem(KEY, this.#key);
  }

  forget() {
    this.#key = "";
    sessionStorage.removeItem(KEY);
  }

  /** What the gateway tells there; `path` is a list of names, in whatever letters. */
  get(path, query = {}) {
    return this.#ask("GET", path, { query });
  }

  /** What came of an act; `body` becomes JSON. */
  post(path, body) {
    return this.#ask("POST", path, { body });
  }

  /** The response of a stream of events from after this one on. */
  async listen(last, kinds, signal) {
    const headers = this.#headers(last ? { "last-event-id": last } : {});
    return whole(await fetch(`admin/events?kinds=${kinds.join(",")}`, { headers, signal, ...PRIVATE }));
  }

  async #ask(method, path, { query = {}, body }) {
    const where = path.map((part) => encodeURIComponent(part)).join("/");
    const more = Object.keys(query).length ? `?${new URLSearchParams(query)}` : "";
    const sent = body === undefined ? undefined : JSON.stringify(body);
    const signal = AbortSignal.timeout(QUESTION_S * 1000);
    try {
      const response = await fetch(`admin/${where}${more}`, {
        method, headers: this.#headers(), body: sent, signal, ...PRIVATE,
      });
      return await (await whole(response)).json();
    } catch (error) {
      throw error instanceof Refused ? error : new Refused(0, "the gateway does not answer");
    }
  }

  #headers(more = {}) {
    // A header takes one line of Latin letters; any other key is a wrong one, and the gateway says so.
    const key = /^[\x21-\x7e]+$/.test(this.#key) ? this.#key : "unreadable";
    return { authorization: `Bearer ${key}`, ...more };
  }
}

const PRIVATE = { cache: "no-store", credentials: "same-origin", redirect: "error" };

async function whole(response) {
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  const { message = `the gateway answers ${response.status}`, code = "" } = said.error ?? {};
  throw new Refused(response.status, String(message), String(code));
}

/**
 * The stream of events, for as long as the page is open.
 *
 * `told.begin` is asked for the number to read on from, before the first and wherever the thread was lost;
 * `told.facts` is given facts, `told.state` "live", or "lost" with the seconds until the next attempt.
 */
export class Feed {
  #gateway;
  #kinds;
  #told;
  #last = "";
  #tries = 0;
  #round = 0;
  #abort = new AbortController();
  #wake = () => {};

  constructor(gateway, kinds, told) {
    this.#gateway = gateway;
    this.#kinds = kinds;
    this.#told = told;
    addEventListener("online", () => this.#wake());
  }

  /** Begin anew, with whatever key there is now. */
  start() {
    this.stop();
    this.#last = "";
    this.#tries = 0;
    this.#run(++this.#round);
  }

  stop() {
    this.#round++;
    this.#abort.abort();
    this.#wake();
  }

  retry() {
    this.#wake();
  }

  async #run(round) {
    while (round === this.#round) {
      const problem = await this.#follow(round).catch((error) => error);
      if (round !== this.#round) return;
      if (problem instanceof Refused && [401, 404].includes(problem.status)) return this.#told.refused(problem);
      const wait = WAITS_S[Math.min(this.#tries++, WAITS_S.length - 1)] * (0.8 + 0.4 * Math.random());
      this.#told.state("lost", wait);
      await this.#pause(wait);
    }
  }

  async #follow(round) {
    if (!this.#last) this.#last = await this.#told.begin();
    if (round !== this.#round) return;
    const abort = (this.#abort = new AbortController());
    let alarm = 0;
    const alive = () => {
      clearTimeout(alarm);
      alarm = setTimeout(() => abort.abort(), SILENT_S * 1000);
    };
    alive();
    try {
      const response = await this.#gateway.listen(this.#last, this.#kinds, abort.signal);
      for await (const event of events(response.body, alive)) if (!this.#take(event)) break;
    } finally {
      clearTimeout(alarm);
      abort.abort();
    }
  }

  /** Whether to read on: not where something was missed, which is in the records; what follows on it here is too. */
  #take({ name, id, data }) {
    if (name === "hello") {
      this.#tries = 0;
      this.#told.state("live");
    } else if (name === "facts") {
      this.#last = id;
      this.#told.facts(data);
    } else if (name === "gap" || name === "dropped") {
      this.#last = "";
      return false;
    }
    return true;
  }

  #pause(wait) {
    return new Promise((done) => {
      const timer = setTimeout(done, wait * 1000);
      this.#wake = () => {
        clearTimeout(timer);
        done();
      };
    });
  }
}

/** Server-sent events as they come; `alive` is called for every piece, events or not. */
async function* events(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = read(block);
      if (event) yield event;
    }
  }
}

function read(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const at = line.indexOf(": ");
    if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
  }
  return fields.data ? { name: fields.event, id: fields.id ?? "", data: JSON.parse(fields.data) } : null;
}
