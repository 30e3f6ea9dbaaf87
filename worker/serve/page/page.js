// A reader's profile and front page, live: the simplest client of the API.

const element = (id) => document.getElementById(id);
let stream = null;

function row(name, text) {
  const term = document.createElement("dt");
  const value = document.createElement("dd");
  term.textContent = name;
  value.textContent = text;
  return [term, value];
}

const percent = (share) => `${Math.round(100 * share)}%`;

function interests(tags) {
  const strongest = Object.entries(tags).slice(0, 5);
  return strongest.map(([tag, share]) => `${tag} ${percent(share)}`).join(", ");
}

function showProfile(profile) {
  const rows = profile && [
    ["age", `${Math.round(profile.age.years)} ± ${Math.round(profile.age.sd)} years`],
    ["female", percent(profile.gender.female)],
    ["income", `group ${profile.income.group + 1} of ${profile.income.probabilities.length}`],
    ["reads", interests(profile.tags)],
    ["clicks", String(profile.num_clicks)],
  ];
  element("profile").replaceChildren(...(rows || []).flatMap(([name, text]) => row(name, text)));
}

function showPage(page) {
  const items = (page ? page.items : []).map((item) => {
    const line = document.createElement("li");
    const why = document.createElement("small");
    line.textContent = (item.article && item.article.title) || item.article_id;
    const reasons = item.reasons.slice(0, 3).map((reason) => reason.name).join(", ");
    why.textContent = `${item.tags.join(", ")} · ${reasons}`;
    line.append(why);
    return line;
  });
  element("page").replaceChildren(...items);
}

element("who").addEventListener("submit", (event) => {
  event.preventDefault();
  if (stream) stream.close();
  const reader = encodeURIComponent(element("reader").value);
  stream = new EventSource(`/v1/readers/${reader}/events?articles=true`);
  stream.addEventListener("profile", (message) => showProfile(JSON.parse(message.data)));
  stream.addEventListener("recommendations", (message) => {
    const page = JSON.parse(message.data);
    showPage(page);
    element("status").textContent = page ? "" : "Nothing is known of this reader.";
  });
  stream.addEventListener("error", () => { element("status").textContent = "Connecting…"; });
});
