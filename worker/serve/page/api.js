// Requests to the HTTP API; an error has the name of its problem.

import { currentToken } from "./settings.js";

export class ApiError extends Error {
  constructor(status, problem) {
    super(problem);
    this.status = status;
  }
}

export function headers(more = {}) {
  const token = currentToken();
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

const reader = (id) => `/v1/readers/${encodeURIComponent(id)}`;

const WAIT_MS = 15_000;

async function call(method, path, body) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  const type = body === undefined ? {} : { "Content-Type": "application/json" };
  const signal = AbortSignal.timeout(WAIT_MS);
  const response = await fetch(path, { method, headers: headers(type), signal, ...sent });
  const found = await response.json();
  if (!response.ok) throw new ApiError(response.status, found.type || "");
  return found;
}

export const eventsPath = (id) => `${reader(id)}/events?articles=true`;

export function click(id, articleId, timestamp) {
  return call("POST", "/v1/clicks", { user_id: id, article_id: articleId, timestamp });
}

export function visit(id, timestamp) {
  return call("POST", `${reader(id)}/visits`, { timestamp });
}

export function erase(id) {
  return call("DELETE", reader(id));
}

// Readers that may be listed, and the time in their data; none where this is no demo.
export async function demoReaders() {
  try {
    return await call("GET", "/v1/demo/readers");
  } catch (error) {
    if (error.status !== 404) throw error;
    return null;
  }
}

const articles = new Map();

// An article, asked for once; null where there is none any more.
export function article(id) {
  if (!articles.has(id)) {
    const found = call("GET", `/v1/articles/${encodeURIComponent(id)}`).catch((error) => {
      if (error.status !== 404 && error.status !== 410) articles.delete(id);
      return null;
    });
    articles.set(id, found);
  }
  return articles.get(id);
}
