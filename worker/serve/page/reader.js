// One of the two readers: who it is, what is guessed of them, their news, and what a visitor does.

import * as api from "./api.js";
import { ProfileView } from "./profile.js";
import { button, make } from "./elements.js";
import { inventReader, isInvented, now } from "./settings.js";
import { Stories } from "./stories.js";
import { Stream } from "./stream.js";
import { say } from "./words.js";

// The profile and the page that follow a click come one after the other; they are told as one.
const TOLD_AFTER_MS = 900;
const ANSWER_MS = 8000;
// Good news that need not stay.
const PASSING = new Set(["back", "rearranged", "erased"]);
const PASSES_MS = 12_000;

export class Reader {
  id = "";
  #stream = null;
  #state = "open";
  #page = null;
  #profile = null;
  #awaited = false; // whether the visitor did something that is to be answered
  #erasing = false;
  #asked = false;
  #timers = {};
  #status = make("p", { class: "status", role: "status" });
  #heading = make("h2", { tabindex: "-1" });
  #newsHeading = make("h3");
  #empty = make("p", { class: "empty" });
  #visit = button("", () => this.#askForPage(), { class: "visit" });
  #profileView;
  #stories;

  // on: {changed(reader), erased(id), unauthorized()}; chooser: an element to choose who this is.
  constructor(number, chooser, on) {
    this.number = number;
    this.on = on;
    this.#profileView = new ProfileView(number);
    this.#stories = new Stories(`reader-${number}`, (id) => this.#click(id));
    this.#heading.id = `reader-${number}`;
    this.#newsHeading.id = `news-${number}`;
    this.element = make(
      "section",
      { class: "reader", "aria-labelledby": this.#heading.id, "data-number": number },
      make("header", {}, this.#heading, this.#status, chooser),
      this.#profileView.element,
      make(
        "section",
        { class: "news", "aria-labelledby": this.#newsHeading.id },
        this.#newsHeading,
        this.#empty,
        this.#visit,
        this.#stories.element,
      ),
    );
  }

  watch(id) {
    this.#stream?.close();
    this.id = id;
    this.#page = this.#profile = null;
    this.#awaited = this.#asked = this.#erasing = false;
    Object.values(this.#timers).forEach(clearTimeout);
    this.#stories.clear();
    this.#profileView.show(null, null);
    this.#stream = new Stream(api.eventsPath(id), {
      event: (name, data) => this.#event(name, data),
      state: (state) => this.#connection(state),
    });
    this.#say("connecting");
    this.on.changed(this);
    this.translate();
  }

  reconnect() {
    this.watch(this.id);
  }

  async erase() {
    const id = this.id;
    this.#erasing = true;
    this.#say("erasing");
    try {
      await api.erase(id);
    } catch {
      if (id !== this.id) return;
      this.#erasing = false;
      this.#say("erase_failed");
      return;
    }
    if (id !== this.id) return;
    // It is done when the stream says that nothing is left.
    this.#expectAnswer();
    if (!this.#profile && !this.#page) this.#erased();
  }

  translate() {
    this.#heading.textContent = say("reader", this.number);
    this.#newsHeading.textContent = say("news", this.number);
    this.#visit.textContent = say("visit");
    this.#empty.textContent = say(this.#asked ? "making" : "no_page");
    this.#profileView.translate();
    this.#stories.translate();
    this.#showEmptiness();
  }

  #event(name, data) {
    if (name === "profile") {
      this.#profile = data;
      this.#showProfile();
    } else {
      this.#page = data;
      if (data && !this.#erasing) this.#answered();
      const isFirst = !this.element.querySelector(".story");
      const items = data ? data.items : [];
      this.#tell(this.#stories.show(items), isFirst);
      this.#showProfile();
      if (!data && !this.#erasing && isInvented(this.id)) this.#askForPage();
    }
    if (this.#erasing && !this.#profile && !this.#page) this.#erased();
    this.#showEmptiness();
  }

  #showProfile() {
    const emptyWord = isInvented(this.id) ? "unknown" : "unprofiled";
    this.#profileView.show(this.#profile, this.#page && emptyWord);
  }

  #showEmptiness() {
    this.#empty.hidden = Boolean(this.#page) || this.#state !== "open";
    this.#visit.hidden = this.#empty.hidden || this.#asked;
    this.#empty.textContent = say(this.#asked ? "making" : "no_page");
  }

  // One message, and only about what the visitor did: a page that moves by itself does not speak.
  #tell(numNew, isFirst) {
    if (!this.#awaited || isFirst) {
      if (this.#status.dataset.word === "connecting") this.#say(null);
      return;
    }
    clearTimeout(this.#timers.told);
    this.#timers.told = setTimeout(() => {
      this.#awaited = false;
      const words = Object.entries(this.#profileView.words());
      const guesses = words.map(([name, text]) => `${say(name)}: ${text}`);
      this.#say("rearranged", numNew);
      // On a wide screen the guesses are in sight; here they are for who listens.
      if (guesses.length) this.#status.prepend(make("span", { class: "guesses", text: say("guessed", guesses) }));
    }, TOLD_AFTER_MS);
  }

  #expectAnswer() {
    clearTimeout(this.#timers.slow);
    this.#timers.slow = setTimeout(() => this.#say("slow"), ANSWER_MS);
  }

  #answered() {
    clearTimeout(this.#timers.slow);
    if (this.#status.dataset.word === "slow") this.#say(null);
  }

  #say(word, ...values) {
    this.#status.dataset.word = word || "";
    this.#status.textContent = word ? say(word, ...values) : "";
    clearTimeout(this.#timers.passed);
    if (PASSING.has(word)) this.#timers.passed = setTimeout(() => this.#say(null), PASSES_MS);
  }

  #connection(state) {
    const was = this.#state;
    this.#state = state;
    if (state === "unauthorized") this.on.unauthorized();
    else if (state === "lost") this.#say("lost");
    else if (was === "lost") this.#say("back");
    this.#showEmptiness();
  }

  async #click(articleId) {
    const id = this.id;
    this.#awaited = true;
    this.#expectAnswer();
    try {
      await api.click(id, articleId, now());
    } catch {
      if (id !== this.id) return;
      this.#answered();
      this.#awaited = false;
      this.#say("click_failed");
    }
  }

  async #askForPage() {
    const id = this.id;
    this.#asked = true;
    this.#expectAnswer();
    this.#showEmptiness();
    try {
      await api.visit(id, now());
    } catch {
      if (id !== this.id) return;
      this.#asked = false;
      this.#answered();
      this.#say("visit_failed");
      this.#showEmptiness();
    }
  }

  #erased() {
    if (!this.#erasing) return;
    this.on.erased(this.id);
    this.watch(inventReader());
    this.#say("erased");
    this.#heading.focus({ preventScroll: true });
  }
}
