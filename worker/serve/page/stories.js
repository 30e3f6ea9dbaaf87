// The front page of one reader: stories that move to their new places, around the one being read.

import { make, motionIsWelcome } from "./elements.js";
import { Story } from "./story.js";

const MOVE_MS = 600;
// The first stories show how they begin.
const TEASED = 3;

export class Stories {
  #stories = new Map();
  #items = [];
  #reading = null; // {item, place}
  #prefix;
  #onRead;

  // onRead(article_id) is called when a reader opens a story.
  constructor(prefix, onRead) {
    this.#prefix = prefix;
    this.#onRead = onRead;
    this.element = make("ol", { class: "stories", role: "list" });
  }

  // Show the items of a page. Returns how many of them were not there before.
  show(items) {
    const before = new Set(this.#items.map((each) => each.article_id));
    this.#items = items;
    this.#arrange();
    return items.filter((each) => !before.has(each.article_id)).length;
  }

  clear() {
    this.#reading = null;
    this.#items = [];
    this.#arrange();
  }

  translate() {
    this.#stories.forEach((story) => story.translate());
  }

  #clicked(story) {
    const places = this.#places();
    const reading = this.#reading && this.#stories.get(this.#reading.item.article_id);
    reading?.close();
    if (reading === story) {
      this.#reading = null;
      this.#arrange(places);
      return;
    }
    const shown = this.#shown();
    const place = shown.findIndex((each) => each.article_id === story.id);
    this.#reading = { item: shown[place], place };
    story.open();
    this.#arrange(places);
    this.#onRead(story.id);
  }

  // The page, with the story that is being read kept in its place although a page has no story
  // that was clicked.
  #shown() {
    if (!this.#reading) return this.#items;
    const { item, place } = this.#reading;
    const others = this.#items.filter((each) => each.article_id !== item.article_id);
    // An open story is as wide as the page: it starts a row, as after the first story even ones do.
    const start = place > 0 && place % 2 === 0 ? place - 1 : place;
    return [...others.slice(0, start), item, ...others.slice(start)];
  }

  #places() {
    return new Map([...this.#stories].map(([id, { element }]) => [id, element.getBoundingClientRect()]));
  }

  // places: where stories were before anything changed.
  #arrange(places = this.#places()) {
    const items = this.#shown();
    const focused = [...this.#stories.values()].find((each) => each.hasFocus());
    const focusedPlace = focused ? [...this.element.children].indexOf(focused.element) : -1;
    const ids = new Set(items.map((each) => each.article_id));
    for (const [id, story] of this.#stories) {
      if (ids.has(id)) continue;
      story.element.remove();
      this.#stories.delete(id);
    }
    const ordered = items.map((item) => this.#storyOf(item));
    this.#order(ordered, focused);
    ordered.slice(0, TEASED).forEach((story) => story.tease());
    // Who was on a story that has left goes on at the one that took its place.
    if (focused && !ids.has(focused.id)) ordered[Math.min(focusedPlace, ordered.length - 1)]?.focus();
    if (motionIsWelcome()) ordered.forEach((story) => move(story.element, places.get(story.id)));
  }

  #storyOf(item) {
    const known = this.#stories.get(item.article_id);
    if (known) {
      known.update(item);
      return known;
    }
    const story = new Story(item, this.#prefix, (clicked) => this.#clicked(clicked));
    this.#stories.set(story.id, story);
    return story;
  }

  // An element that is moved loses the focus, so the others are moved around the focused one.
  #order(ordered, focused) {
    const at = ordered.indexOf(focused);
    if (at >= 0) ordered.slice(0, at).forEach((story) => focused.element.before(story.element));
    this.element.append(...ordered.slice(at + 1).map((story) => story.element));
  }
}

// Let an element glide from where it was; one that has just come fades in.
function move(element, before) {
  const options = { duration: MOVE_MS, easing: "cubic-bezier(.2,.7,.2,1)" };
  if (!before) {
    element.animate({ opacity: [0, 1] }, options);
    return;
  }
  const after = element.getBoundingClientRect();
  const [x, y] = [before.left - after.left, before.top - after.top];
  if (x || y) element.animate({ transform: [`translate(${x}px,${y}px)`, "none"] }, options);
}
