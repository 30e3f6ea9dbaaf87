// One story of a front page: headline, tags, why it is there; opened, also its text.

import { article } from "./api.js";
import { button, make } from "./elements.js";
import { because } from "./reasons.js";
import { now } from "./settings.js";
import { currentLanguage, howLongAgo, say } from "./words.js";

export class Story {
  #item;
  #headline;
  #text = make("p", { class: "text" });
  #meta = make("p", { class: "meta" });
  #why = make("p", { class: "why" });
  #opened = false;

  // prefix: makes ids of elements unique. onClick is called with this story.
  constructor(item, prefix, onClick) {
    this.id = item.article_id;
    this.#headline = button("", () => onClick(this), { class: "headline", "aria-expanded": "false" });
    this.#text.id = `${prefix}-text-${item.article_id}`;
    this.#text.hidden = true;
    const heading = make("h4", {}, this.#headline);
    this.element = make("li", { class: "story" }, heading, this.#text, this.#meta, this.#why);
    this.update(item);
  }

  update(item) {
    this.#item = item;
    this.translate();
  }

  translate() {
    const { article: known, tags, reasons } = this.#item;
    this.#headline.textContent = (known && known.title) || say("untitled", this.id);
    if (known && known.language) {
      for (const each of [this.#headline, this.#text]) each.lang = known.language;
    }
    const age = known && known.published_at ? howLongAgo(known.published_at, now()) : null;
    const parts = [
      this.#opened && make("span", { class: "reading", text: say("reading") }),
      ...tags.map((tag) => make("span", { class: "tag", text: tag })),
      age && make("span", { class: "age", text: age }),
    ];
    this.#meta.replaceChildren(...parts.filter(Boolean));
    this.#explain(reasons);
  }

  async #explain(reasons) {
    const item = this.#item;
    const language = currentLanguage();
    const parts = await because(reasons);
    if (item === this.#item && language === currentLanguage()) this.#why.replaceChildren(...parts);
  }

  get isOpen() {
    return this.#opened;
  }

  async open() {
    this.#opened = true;
    this.element.classList.add("is-open");
    this.#headline.setAttribute("aria-expanded", "true");
    this.#headline.setAttribute("aria-controls", this.#text.id);
    this.translate();
    await this.#load();
  }

  close() {
    this.#opened = false;
    this.element.classList.remove("is-open");
    this.#headline.setAttribute("aria-expanded", "false");
    this.translate();
  }

  // Have the text at hand: of the first stories a page shows how they begin.
  async tease() {
    await this.#load();
  }

  async #load() {
    const found = await article(this.id);
    this.#text.textContent = (found && found.body) || (this.#opened ? say("no_text") : "");
    this.#text.hidden = !this.#text.textContent;
  }

  hasFocus() {
    return document.activeElement === this.#headline;
  }

  focus() {
    this.#headline.focus({ preventScroll: true });
  }
}
