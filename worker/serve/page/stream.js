// Server-sent events, read with fetch: unlike EventSource it sends a token and tells a status.

import { headers } from "./api.js";

// The server sends at least a comment every 15 s; what is silent for longer is dead.
const SILENT_MS = 40_000;
const RETRY_MS = [500, 1000, 2000, 5000];

// Calls `on.event(name, data)` for each, `on.state("open" | "lost" | "unauthorized")`, until closed.
export class Stream {
  #path;
  #on;
  #lastId = "";
  #failures = 0;
  #closed = false;
  #abort = null;
  #timer = 0;

  constructor(path, on) {
    this.#path = path;
    this.#on = on;
    addEventListener("online", this.#hurry);
    this.#run();
  }

  close() {
    this.#closed = true;
    removeEventListener("online", this.#hurry);
    clearTimeout(this.#timer);
    this.#abort?.abort();
  }

  #hurry = () => {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#run();
  };

  async #run() {
    this.#timer = 0;
    this.#abort = new AbortController();
    let state = "lost";
    try {
      const more = this.#lastId ? { "Last-Event-ID": this.#lastId } : {};
      const { signal } = this.#abort;
      const response = await fetch(this.#path, { headers: headers(more), cache: "no-store", signal });
      if (response.ok) await this.#read(response.body.getReader());
      else if (response.status === 401) state = "unauthorized";
    } catch {
      // Nobody listens, the network is gone, or it was silent for too long: all end in trying again.
    }
    this.#abort.abort();
    if (this.#closed) return;
    this.#on.state(state);
    if (state === "unauthorized") return;
    const wait = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)];
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#run(), wait);
  }

  async #read(body) {
    this.#failures = 0;
    this.#on.state("open");
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const silent = setTimeout(() => this.#abort.abort(), SILENT_MS);
      const { done, value } = await body.read().finally(() => clearTimeout(silent));
      if (done || this.#closed) return;
      text += decoder.decode(value, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop();
      blocks.forEach((block) => this.#dispatch(block));
    }
  }

  #dispatch(block) {
    const fields = {};
    for (const line of block.split("\n")) {
      const [, name, value] = /^(\w+): ?(.*)$/.exec(line) || [];
      if (name) fields[name] = value;
    }
    if (fields.id) this.#lastId = fields.id;
    if (fields.event) this.#on.event(fields.event, JSON.parse(fields.data));
  }
}
