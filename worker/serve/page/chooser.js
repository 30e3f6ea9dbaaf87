// Who a reader is: one from a list (of a demo), one by id, or an invented one; and erasing them.

import { button, make } from "./elements.js";
import { inventReader, isInvented } from "./settings.js";
import { say } from "./words.js";

export class Chooser {
  #current = "";
  #known = [];
  #label = make("label");
  #select = make("select");
  #input = make("input", { required: "", maxlength: "512", autocomplete: "off", spellcheck: "false" });
  #show = make("button", { class: "show" });
  #form;
  #invent;
  #erase;

  // on: {choose(id), erase()}.
  constructor(number, on) {
    this.#select.id = `choose-${number}`;
    this.#input.id = `name-${number}`;
    this.#select.addEventListener("change", () => on.choose(this.#select.value));
    this.#form = make("form", {}, this.#label, this.#select, this.#input, this.#show);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#input.value) on.choose(this.#input.value);
    });
    this.#invent = button("", () => on.choose(inventReader()), { class: "invent" });
    this.#erase = button("", () => on.erase(), { class: "erase" });
    this.element = make("div", { class: "chooser" }, this.#form, this.#invent, this.#erase);
    this.list([]);
  }

  // readers: of a demo; with none, a reader is named by id.
  list(readers, { isDemo = readers.length > 0 } = {}) {
    this.#known = readers;
    this.#select.hidden = !isDemo;
    this.#input.hidden = this.#show.hidden = isDemo;
    this.#label.htmlFor = isDemo ? this.#select.id : this.#input.id;
  }

  drop(id) {
    this.list(this.#known.filter((each) => each.user_id !== id), { isDemo: !this.#select.hidden });
    this.translate();
  }

  show(id) {
    this.#current = id;
    this.#input.value = id;
    this.translate();
  }

  translate() {
    this.#label.textContent = say("choose");
    this.#show.textContent = say("show");
    this.#invent.textContent = say("invent");
    this.#erase.textContent = say("erase");
    const options = this.#known.map((each) =>
      make("option", {
        value: each.user_id,
        text: say("option", each.user_id, Math.round(each.age_years / 5) * 5, each.num_clicks),
      }));
    if (!this.#known.some((each) => each.user_id === this.#current)) {
      const text = isInvented(this.#current) ? say("invented", this.#current.slice(9, 15)) : this.#current;
      options.push(make("option", { value: this.#current, text }));
    }
    this.#select.replaceChildren(...options);
    this.#select.value = this.#current;
  }
}
