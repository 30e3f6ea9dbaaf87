// Why a story is on the page, in words.

import { article } from "./api.js";
import { make } from "./elements.js";
import { say } from "./words.js";

const SHOWN = 3;
// What adds less than this part of the strongest reason is not worth words.
const WORTH_SAYING = 0.15;

const PLAIN = new Set([
  ...["trending", "fresh", "newcomers", "click-through", "tags", "readers-like-you", "content"],
  "explored",
]);

// What a reason says, as a list of texts and elements; nothing for one that has no words.
async function inWords(name) {
  const [kind, detail] = [name.split(":", 1)[0], name.slice(name.indexOf(":") + 1)];
  if (kind === "co-clicked") {
    const read = detail === name ? null : await article(detail);
    if (!read || !read.title) return [say("co-clicked-untitled")];
    const [before, after] = say("co-clicked");
    return [before, make("span", { lang: read.language, text: read.title }), after];
  }
  if (kind === "tag") return [say("tag", detail)];
  return PLAIN.has(name) ? [say(name)] : [];
}

// One sentence of the strongest reasons; those that speak against the story are not named.
export async function because(reasons) {
  const most = Math.max(0, ...reasons.map((each) => each.weight));
  const strong = reasons.filter((each) => each.weight > 0 && each.weight >= WORTH_SAYING * most);
  const words = await Promise.all(strong.slice(0, SHOWN).map((each) => inWords(each.name)));
  const known = words.filter((each) => each.length);
  if (!known.length) known.push([say("unexplained")]);
  const parts = known.flatMap((each, at) => (at ? [say("reason_separator"), ...each] : each));
  return [say("because"), ...parts, say("reason_end")];
}
