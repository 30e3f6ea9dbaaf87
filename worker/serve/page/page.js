// The page: two readers side by side, and the switches for language and light or dark.

import { demoReaders } from "./api.js";
import { Chooser } from "./chooser.js";
import { Reader } from "./reader.js";
import * as settings from "./settings.js";
import { currentLanguage, day, LANGUAGES, say, useLanguage } from "./words.js";

const element = (id) => document.getElementById(id);
const NUMBERS = [1, 2];
const choosers = [];
const readers = [];

function translate() {
  document.documentElement.lang = currentLanguage();
  for (const each of document.querySelectorAll("[data-say]")) each.textContent = say(each.dataset.say);
  element("day").textContent = day(settings.now());
  element("theme").textContent = say(settings.isDark() ? "light" : "dark");
  element("language").lang = nextLanguage();
  element("which").setAttribute("aria-label", say("which"));
  NUMBERS.forEach((number) => {
    element(`show-${number}`).textContent = say("reader", number);
  });
  [...choosers, ...readers].forEach((each) => each.translate());
}

const nextLanguage = () => LANGUAGES[(LANGUAGES.indexOf(currentLanguage()) + 1) % LANGUAGES.length];

element("language").addEventListener("click", () => {
  settings.chooseLanguage(nextLanguage());
  useLanguage(nextLanguage());
  translate();
});

element("theme").addEventListener("click", () => {
  settings.chooseTheme(settings.isDark() ? "light" : "dark");
  translate();
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", translate);

// On a narrow screen one reader is shown at a time.
function showOnly(number) {
  NUMBERS.forEach((each) => {
    element(`show-${each}`).setAttribute("aria-pressed", String(each === number));
  });
  element("readers").dataset.shown = number;
}

NUMBERS.forEach((number) => element(`show-${number}`).addEventListener("click", () => showOnly(number)));

function confirmErasure(reader) {
  const dialog = element("erase");
  dialog.returnValue = "";
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "yes") reader.erase();
  }, { once: true });
  dialog.showModal();
}

function askForToken() {
  element("token-form").hidden = false;
  element("token").focus();
}

element("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  settings.useToken(element("token").value);
  element("token-form").hidden = true;
  start();
});

function build() {
  for (const number of NUMBERS) {
    const chooser = new Chooser(number, {
      choose: (id) => reader.watch(id),
      erase: () => confirmErasure(reader),
    });
    const reader = new Reader(number, chooser.element, {
      changed: ({ id }) => {
        chooser.show(id);
        settings.putReadersInAddress(readers.map((each) => each.id));
      },
      erased: (id) => choosers.forEach((each) => each.drop(id)),
      unauthorized: askForToken,
    });
    choosers.push(chooser);
    readers.push(reader);
    element("readers").append(reader.element);
  }
}

// An alert is read out whenever it is set, so it is set only when it changes.
function sayTrouble(text) {
  if (element("trouble").textContent !== text) element("trouble").textContent = text;
}

const RETRY_MS = 2000;

async function start() {
  let demo;
  try {
    demo = await demoReaders();
  } catch (error) {
    if (error.status === 401) askForToken();
    else setTimeout(start, RETRY_MS);
    sayTrouble(error.status === 401 ? "" : say("lost"));
    return;
  }
  sayTrouble("");
  settings.startClock(demo ? demo.now_ms : 0);
  element("real").hidden = Boolean(demo);
  const listed = demo ? demo.readers : [];
  choosers.forEach((each) => each.list(listed));
  const named = settings.readersInAddress();
  readers.forEach((reader, at) => {
    reader.watch(named[at] || listed[at]?.user_id || settings.inventReader());
  });
  translate();
}

settings.restoreTheme();
useLanguage(settings.chosenLanguage());
build();
showOnly(1);
translate();
start();
