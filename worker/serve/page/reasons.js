// Why a story is on the page, in words.

import { article } from "./api.js";
import { say } from "./words.js";

const SHOWN = 3;
// What adds less than this part of the strongest reason is not worth words.
const WORTH_SAYING = 0.15;

async function inWords(name) {
  const [kind, detail] = [name.split(":", 1)[0], name.slice(name.indexOf(":") + 1)];
  if (kind === "co-clicked") {
    const read = detail === name ? null : await article(detail);
    return read && read.title ? say(kind, read.title) : say("co-clicked-untitled");
  }
  return say(kind, detail) || null;
}

// One sentence of the strongest reasons; those that speak against the story are not named.
export async function because(reasons) {
  const most = Math.max(0, ...reasons.map((each) => each.weight));
  const strong = reasons.filter((each) => each.weight > 0 && each.weight >= WORTH_SAYING * most);
  const words = await Promise.all(strong.slice(0, SHOWN).map((each) => inWords(each.name)));
  const known = [...new Set(words.filter(Boolean))];
  if (!known.length) known.push(say("unexplained"));
  return say("because") + known.join(say("reason_separator")) + say("reason_end");
}
