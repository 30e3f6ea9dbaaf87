// Elements from values. Text goes in as text only, whatever it holds.

const SVG = "http://www.w3.org/2000/svg";

// `text` is the content; `class` and what the DOM knows as attributes are set as such.
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

export function motionIsWelcome() {
  return !matchMedia("(prefers-reduced-motion: reduce)").matches;
}

// A named button; who calls it gets its element.
export function button(text, onClick, attributes = {}) {
  const element = make("button", { type: "button", text, ...attributes });
  element.addEventListener("click", onClick);
  return element;
}
