// The estimates as pictures: a curve, bars and a soft scale. What they say is beside them in words.

import { draw, make, motionIsWelcome } from "./elements.js";
import { percent } from "./words.js";

const MOVE_MS = 700;
const YOUNGEST = 10;
const OLDEST = 90;
const WIDTH = 200;
const BASE = 58;
const TICKS = [20, 40, 60, 80];

const across = (years) => ((years - YOUNGEST) / (OLDEST - YOUNGEST)) * WIDTH;

// The highest curve that is drawn in full height; narrower ones would be needles.
const NARROWEST_SD = 3;

// The density of a normal distribution as a path. Its height grows with certainty, less than the
// density does, so that a wide curve is still seen.
function curve({ years, sd }) {
  const height = (BASE - 4) * Math.sqrt(NARROWEST_SD / Math.max(sd, NARROWEST_SD));
  const points = [];
  for (let at = YOUNGEST; at <= OLDEST; at += 0.5) {
    const density = Math.exp(-0.5 * ((at - years) / sd) ** 2);
    points.push(`${across(at).toFixed(1)},${(BASE - height * density).toFixed(2)}`);
  }
  return `M${points.join("L")}`;
}

export class AgeCurve {
  #now = null;
  #area = draw("path", { class: "area" });
  #line = draw("path", { class: "line" });
  #before = draw("path", { class: "before" });
  #moving = 0;

  constructor() {
    const ticks = TICKS.map((years) => make("span", { text: String(years) }));
    TICKS.forEach((years, at) => {
      ticks[at].style.left = `${(100 * across(years)) / WIDTH}%`;
    });
    const picture = draw(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${BASE + 1}`, preserveAspectRatio: "none" },
      this.#area,
      this.#before,
      this.#line,
      draw("path", { class: "axis", d: `M0,${BASE}H${WIDTH}` }),
    );
    const scale = make("div", { class: "ticks" }, ...ticks);
    this.element = make("div", { class: "age-curve", "aria-hidden": "true" }, picture, scale);
  }

  // age: {years, sd}, or null for none.
  show(age) {
    cancelAnimationFrame(this.#moving);
    const from = this.#now;
    this.#now = age;
    const differs = from && age && Math.hypot(from.years - age.years, from.sd - age.sd) > 0.05;
    if (differs) this.#before.setAttribute("d", curve(from));
    else if (!age || !from) this.#before.removeAttribute("d");
    if (!differs || !motionIsWelcome()) {
      this.#put(age);
      return;
    }
    const start = performance.now();
    const step = (time) => {
      const part = Math.min(1, Math.max(0, time - start) / MOVE_MS);
      const eased = 1 - (1 - part) ** 3;
      const between = (name) => from[name] + eased * (age[name] - from[name]);
      this.#put({ years: between("years"), sd: between("sd") });
      if (part < 1) this.#moving = requestAnimationFrame(step);
    };
    this.#moving = requestAnimationFrame(step);
  }

  #put(age) {
    const path = age ? curve(age) : "M0,0";
    this.#line.setAttribute("d", path);
    this.#area.setAttribute("d", age ? `${path}L${WIDTH},${BASE}L0,${BASE}Z` : path);
  }
}

export class IncomeBars {
  element = make("div", { class: "income-bars", "aria-hidden": "true" });

  // probabilities: of each group; null for none.
  show(probabilities) {
    const groups = probabilities || Array(10).fill(0);
    while (this.element.children.length > groups.length) this.element.lastChild.remove();
    while (this.element.children.length < groups.length) this.element.append(make("span"));
    const highest = Math.max(0.3, ...groups);
    groups.forEach((share, at) => {
      this.element.children[at].style.setProperty("--share", (share / highest).toFixed(3));
    });
  }
}

// A mark that is narrow where the model is sure and wide where it is not.
export class GenderScale {
  #mark = make("span", { class: "mark" });
  element = make("div", { class: "gender-scale", "aria-hidden": "true" }, this.#mark);

  // female: a probability; null for none.
  show(female) {
    this.#mark.hidden = female === null;
    const unsure = female === null ? 1 : 2 * Math.sqrt(female * (1 - female));
    this.#mark.style.setProperty("--at", (female ?? 0.5).toFixed(3));
    this.#mark.style.setProperty("--wide", `${(1 + 3 * unsure).toFixed(2)}rem`);
  }
}

const SHOWN_TAGS = 6;

export class TagBars {
  #rows = new Map();
  element = make("ul", { class: "tag-bars", role: "list" });

  // tags: share by name.
  show(tags) {
    const strongest = Object.entries(tags).sort((a, b) => b[1] - a[1]).slice(0, SHOWN_TAGS);
    const most = Math.max(0.15, ...strongest.map(([, share]) => share));
    const names = new Set(strongest.map(([name]) => name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.remove();
      this.#rows.delete(name);
    }
    for (const [name, share] of strongest) {
      const row = this.#rows.get(name) || this.#row(name);
      row.lastChild.textContent = percent(share);
      // Bars that have just come grow from nothing.
      requestAnimationFrame(() => row.children[1].style.setProperty("--share", (share / most).toFixed(3)));
      this.element.append(row);
    }
  }

  #row(name) {
    const row = make(
      "li",
      {},
      make("span", { class: "name", text: name }),
      make("span", { class: "bar", "aria-hidden": "true" }),
      make("span", { class: "share" }),
    );
    this.#rows.set(name, row);
    return row;
  }
}
