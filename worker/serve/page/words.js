// All text of the interface, in one table; the text of articles stays as it is.

export const WORDS = {
  en: {
    title: "The frontpage",
    motto: "A front page of one's own, seconds after each click",
    about:
      "Age, income and gender are guesses by a model, from clicks alone. " +
      "They come with their uncertainty, and may be wrong.",
    real: "Clicks made here are published as clicks of that reader.",
    skip: "Skip to the readers",
    other_language: "中文",
    dark: "Dark",
    light: "Light",
    which: "Reader shown",
    reader: (n) => `Reader ${n}`,
    choose: "Reader",
    option: (id, years, clicks) => `${id} · about ${years}, ${clicks} clicks`,
    invented: (id) => `${id} · invented`,
    show: "Show",
    invent: "Invent a reader",
    erase: "Erase this reader",
    erase_title: "Erase this reader?",
    erase_text:
      "Clicks, estimates and front page are deleted, and nothing brings them back. " +
      "A new reader is invented in their place.",
    erase_yes: "Erase",
    erase_no: "Keep",
    erasing: "Erasing…",
    erased: "The reader is erased. Here is a new one, of whom nothing is known.",
    estimates: (n) => `Who reader ${n} may be`,
    age: "Age",
    gender: "Gender",
    income: "Income",
    interests: "Interests",
    years: (from, to) => `probably ${from} to ${to} years`,
    years_open: (to) => `probably under ${to} years`,
    groups: (from, to, of) =>
      from === to ? `probably group ${from} of ${of}` : `probably groups ${from} to ${to} of ${of}`,
    groups_unknown: (of) => `hard to tell: any of ${of} groups`,
    male: "male",
    female: "female",
    gender_words: ["very likely male", "rather male", "hard to tell", "rather female", "very likely female"],
    guessed: (guesses) => `${guesses.join(", ")}. `,
    low: "low",
    high: "high",
    before: "dashed: before this click",
    clicks: (n) => (n === 1 ? "from 1 click" : `from ${n} clicks`),
    unknown: "Nothing is known yet. Click a story.",
    unprofiled: "Nothing is known: no clicks yet, or this reader objects to profiling.",
    news: (n) => `News for reader ${n}`,
    no_page: "There is no front page for this reader yet.",
    visit: "Make one",
    making: "Making a front page…",
    reading: "Reading",
    no_text: "There is no more of this story.",
    untitled: (id) => `Story ${id}`,
    because: "Because ",
    reason_separator: "; ",
    reason_end: ".",
    trending: "it is read a lot now",
    fresh: "it is new",
    newcomers: "readers who are new here open it",
    "click-through": "many who see it open it",
    "co-clicked": ["you read “", "”"],
    "co-clicked-untitled": "others opened it after what you read",
    tag: (name) => `you read about ${name}`,
    tags: "it is about what you read",
    "readers-like-you": "readers like you open it",
    content: "it resembles what you have read",
    explored: "we would like to learn whether it is for you",
    unexplained: "the model ranked it here",
    rearranged: (n) => (n === 1 ? "1 new story on the page." : `${n} new stories on the page.`),
    connecting: "Connecting…",
    lost: "Connection lost. Trying again…",
    back: "Connected again.",
    slow: "This is published, but the worker has not answered yet.",
    click_failed: "The click was not taken. Please try again.",
    visit_failed: "The front page could not be asked for. Please try again.",
    erase_failed: "The reader could not be erased. Please try again.",
    token: "This server asks for a token.",
    token_label: "Token",
    token_use: "Use it",
  },
  zh: {
    title: "The frontpage",
    motto: "点击几秒之后，每位读者都有自己的头版",
    about: "年龄、收入和性别只是模型根据点击作出的推测，带有不确定性，也可能是错的。",
    real: "在这里的点击会作为该读者的点击发布。",
    skip: "跳到读者",
    other_language: "English",
    dark: "深色",
    light: "浅色",
    which: "显示的读者",
    reader: (n) => `读者 ${n}`,
    choose: "读者",
    option: (id, years, clicks) => `${id} · 约 ${years} 岁，${clicks} 次点击`,
    invented: (id) => `${id} · 虚构`,
    show: "显示",
    invent: "虚构一位读者",
    erase: "删除这位读者",
    erase_title: "删除这位读者？",
    erase_text: "点击、推测和头版都会被删除，无法恢复。之后会虚构一位新读者。",
    erase_yes: "删除",
    erase_no: "保留",
    erasing: "正在删除…",
    erased: "读者已删除。这是一位新读者，我们对其一无所知。",
    estimates: (n) => `读者 ${n} 可能是谁`,
    age: "年龄",
    gender: "性别",
    income: "收入",
    interests: "兴趣",
    years: (from, to) => `大概 ${from} 到 ${to} 岁`,
    years_open: (to) => `大概 ${to} 岁以下`,
    groups: (from, to, of) =>
      from === to ? `大概第 ${from} 组（共 ${of} 组）` : `大概第 ${from} 到 ${to} 组（共 ${of} 组）`,
    groups_unknown: (of) => `难以判断：${of} 组都有可能`,
    male: "男",
    female: "女",
    gender_words: ["很可能是男性", "偏向男性", "难以判断", "偏向女性", "很可能是女性"],
    guessed: (guesses) => `${guesses.join("，")}。`,
    low: "低",
    high: "高",
    before: "虚线：这次点击之前",
    clicks: (n) => `依据 ${n} 次点击`,
    unknown: "还一无所知。请点击一条新闻。",
    unprofiled: "一无所知：还没有点击，或者这位读者反对被画像。",
    news: (n) => `给读者 ${n} 的新闻`,
    no_page: "这位读者还没有头版。",
    visit: "生成头版",
    making: "正在生成头版…",
    reading: "正在阅读",
    no_text: "这条新闻没有更多内容。",
    untitled: (id) => `新闻 ${id}`,
    because: "因为",
    reason_separator: "；",
    reason_end: "。",
    trending: "现在读的人很多",
    fresh: "它是新的",
    newcomers: "新来的读者常读它",
    "click-through": "看到它的人大多会打开",
    "co-clicked": ["您读过《", "》"],
    "co-clicked-untitled": "读过同样新闻的人也打开了它",
    tag: (name) => `您读过 ${name} 类新闻`,
    tags: "它与您常读的内容有关",
    "readers-like-you": "与您相似的读者会读它",
    content: "它与您读过的内容相似",
    explored: "我们想知道它是否适合您",
    unexplained: "模型把它排在这里",
    rearranged: (n) => `头版上有 ${n} 条新的新闻。`,
    connecting: "正在连接…",
    lost: "连接中断，正在重试…",
    back: "已重新连接。",
    slow: "已发布，但还没有得到回应。",
    click_failed: "点击未被接受，请重试。",
    visit_failed: "无法请求头版，请重试。",
    erase_failed: "无法删除这位读者，请重试。",
    token: "此服务器需要令牌。",
    token_label: "令牌",
    token_use: "使用",
  },
};

let language = "en";

export const LANGUAGES = Object.keys(WORDS);

export function useLanguage(name) {
  language = name;
}

export function currentLanguage() {
  return language;
}

// The text of that name; some depend on values.
export function say(name, ...values) {
  const text = WORDS[language][name];
  return typeof text === "function" ? text(...values) : text;
}

// Numbers from 0 to 1 are shares; nobody knows them better than to the percent.
export function percent(share) {
  return new Intl.NumberFormat(language, { style: "percent" }).format(share);
}

const AGES = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000]];

export function howLongAgo(timestamp, now) {
  const passed = now - Date.parse(timestamp);
  const [unit, size] = AGES.find(([, size]) => passed >= size) || AGES.at(-1);
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  return format.format(-Math.max(0, Math.floor(passed / size)), unit);
}

export function day(now) {
  return new Intl.DateTimeFormat(language, { dateStyle: "full" }).format(now);
}
