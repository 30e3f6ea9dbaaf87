// What may be said of a profile's numbers, in words no more precise than they are.

import { say } from "./words.js";

// Between these many standard deviations from the mean lie 80 % of a normal distribution.
const EIGHTY_PERCENT = 1.28;
const YOUNGEST = 13;

export function ageInWords({ years, sd }) {
  const from = Math.round(years - EIGHTY_PERCENT * sd);
  const to = Math.round(years + EIGHTY_PERCENT * sd);
  return from < YOUNGEST ? say("years_open", to) : say("years", from, to);
}

// Bounds of the words of gender, as the probability of female.
const GENDER_BOUNDS = [0.1, 0.35, 0.65, 0.9];

export function genderInWords({ female }) {
  return say("gender_words")[GENDER_BOUNDS.filter((bound) => female >= bound).length];
}

const ENOUGH = 2 / 3;

// The narrowest run of groups, [first, last], that together have two thirds of the probability.
export function likelyGroups(probabilities) {
  for (let size = 1; size < probabilities.length; size += 1) {
    const masses = probabilities
      .slice(0, probabilities.length - size + 1)
      .map((_, at) => probabilities.slice(at, at + size).reduce((sum, each) => sum + each, 0));
    const most = Math.max(...masses);
    if (most >= ENOUGH) return [masses.indexOf(most), masses.indexOf(most) + size - 1];
  }
  return [0, probabilities.length - 1];
}

export function incomeInWords({ probabilities }) {
  const count = probabilities.length;
  const [first, last] = likelyGroups(probabilities);
  if (last - first + 1 > 0.6 * count) return say("groups_unknown", count);
  return say("groups", first + 1, last + 1, count);
}
