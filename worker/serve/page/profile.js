// The estimates of one reader: pictures that move, and words.

import { AgeCurve, GenderScale, IncomeBars, TagBars } from "./charts.js";
import { make } from "./elements.js";
import { ageInWords, genderInWords, incomeInWords } from "./estimates.js";
import { say } from "./words.js";

export class ProfileView {
  #profile = null;
  #emptyWord = null;
  #heading = make("h3");
  #note = make("p", { class: "note" });
  #age = new AgeCurve();
  #gender = new GenderScale();
  #income = new IncomeBars();
  #tags = new TagBars();
  #terms = {};
  #ends = [make("span"), make("span"), make("span"), make("span")];
  #before = make("p", { class: "before-note", "aria-hidden": "true" });

  constructor(number) {
    this.number = number;
    const [male, female, low, high] = this.#ends;
    const ends = (...both) => make("div", { class: "ends", "aria-hidden": "true" }, ...both);
    this.element = make(
      "section",
      { class: "profile", "aria-labelledby": `estimates-${number}` },
      this.#heading,
      this.#note,
      make(
        "div",
        { class: "estimates" },
        this.#estimate("age", this.#age.element, this.#before),
        this.#estimate("gender", this.#gender.element, ends(male, female)),
        this.#estimate("income", this.#income.element, ends(low, high)),
        this.#estimate("interests", this.#tags.element),
      ),
    );
    this.#heading.id = `estimates-${number}`;
  }

  // profile: of the API, or null. emptyWord: what is said where there is none.
  show(profile, emptyWord) {
    this.#profile = profile;
    this.#emptyWord = emptyWord;
    this.#age.show(profile && profile.age);
    this.#gender.show(profile ? profile.gender.female : null);
    this.#income.show(profile && profile.income.probabilities);
    this.#tags.show(profile ? profile.tags : {});
    this.translate();
  }

  translate() {
    const profile = this.#profile;
    const words = this.words();
    for (const [name, { title, value }] of Object.entries(this.#terms)) {
      title.textContent = say(name);
      value.textContent = words[name] || "";
    }
    this.#heading.textContent = say("estimates", this.number);
    if (profile) this.#note.textContent = say("clicks", profile.num_clicks);
    else this.#note.textContent = this.#emptyWord ? say(this.#emptyWord) : "";
    this.#before.textContent = profile ? say("before") : "";
    ["male", "female", "low", "high"].forEach((name, at) => {
      this.#ends[at].textContent = say(name);
    });
    this.element.classList.toggle("is-empty", !profile);
  }

  words() {
    const profile = this.#profile;
    if (!profile) return {};
    return {
      age: ageInWords(profile.age),
      gender: genderInWords(profile.gender),
      income: incomeInWords(profile.income),
    };
  }

  #estimate(name, ...pictures) {
    const title = make("h4");
    const value = make("p", { class: "value" });
    this.#terms[name] = { title, value };
    return make("div", { class: `estimate ${name}` }, title, value, ...pictures);
  }
}
