// What a visitor has chosen: language, light or dark, the two readers, the token; and the time.

import { LANGUAGES } from "./words.js";

// Private windows may refuse storage; then a choice holds as long as the page.
function stored(storage, name, value) {
  try {
    if (value !== undefined) window[storage].setItem(name, value);
    return window[storage].getItem(name);
  } catch {
    return null;
  }
}

export function chosenLanguage() {
  const wanted = [stored("localStorage", "language"), ...navigator.languages];
  const known = wanted.map((each) => (each || "").slice(0, 2).toLowerCase());
  return known.find((each) => LANGUAGES.includes(each)) || "en";
}

export function chooseLanguage(name) {
  stored("localStorage", "language", name);
}

export function isDark() {
  const chosen = stored("localStorage", "theme") || document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function chooseTheme(name) {
  document.documentElement.dataset.theme = name;
  stored("localStorage", "theme", name);
}

export function restoreTheme() {
  const name = stored("localStorage", "theme");
  if (name) document.documentElement.dataset.theme = name;
}

let token = stored("sessionStorage", "token") || "";

export function currentToken() {
  return token;
}

export function useToken(value) {
  token = value;
  stored("sessionStorage", "token", value);
}

// Readers are named behind the #: a reload shows the same two, and no server sees them there.
export function readersInAddress() {
  const found = new URLSearchParams(location.hash.slice(1));
  return [found.get("1"), found.get("2")];
}

export function putReadersInAddress(ids) {
  const names = new URLSearchParams(ids.map((id, at) => [String(at + 1), id]));
  history.replaceState(null, "", `#${names}`);
}

const INVENTED = "invented-";

export function inventReader() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return INVENTED + Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
}

export function isInvented(id) {
  return id.startsWith(INVENTED);
}

// A demo's newsroom is months old: its clock goes on from its newest click.
let offset = 0;

export function startClock(nowMs) {
  offset = nowMs ? nowMs - Date.now() : 0;
}

export function now() {
  return Date.now() + offset;
}
