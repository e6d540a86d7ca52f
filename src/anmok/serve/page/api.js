// The API: requests with the key, errors with their message, patience where the service asks for it.

import { t } from "./words.js";

const NAME = "anmok.key";
const PATIENCE = 4; // times that a busy service is asked again
const LONGEST_WAIT = 30; // seconds; a longer Retry-After is shown as an error

/** What went wrong: `message` for people, `code` as the API names it, or "offline". */
export class ApiError extends Error {
  constructor(code, message, status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** Told by the page what to do: ask for a key (resolves to whether there is one now), busy, offline, online. */
export const hooks = { askKey: async () => false, busy: () => {}, offline: () => {}, online: () => {} };

let asking = null; // one dialog for all requests that wait for a key

export const key = () => stored(sessionStorage) || stored(localStorage);

export function setKey(value, remember) {
  try {
    sessionStorage.removeItem(NAME);
    localStorage.removeItem(NAME);
    if (value) (remember ? localStorage : sessionStorage).setItem(NAME, value);
  } catch {}
}

export const get = (path, signal) => request("GET", path, undefined, signal);
export const post = (path, body, signal) => request("POST", path, body, signal);
export const put = (path, body, signal) => request("PUT", path, body, signal);
export const remove = (path) => request("DELETE", path);

/** A path with its query. */
export function address(parts, query = {}) {
  const values = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined && value !== null));
  return `/v1/${parts.map(encodeURIComponent).join("/")}${values.size ? `?${values}` : ""}`;
}

/** Ask, and give the JSON of the answer; null where it has no body. */
export async function request(method, path, body, signal) {
  const response = await ask(method, path, body, signal);
  return response.status === 204 ? null : response.json();
}

/** A picture of the service as a Blob. */
export async function blob(path, signal) {
  return (await ask("GET", path, undefined, signal)).blob();
}

/** Server-sent events; with fetch, because EventSource cannot send a key. Ends when the service ends them. */
export async function events(path, heard, signal) {
  const response = await ask("GET", path, undefined, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (lines.length) heard(JSON.parse(lines.map((line) => line.slice(5).trimStart()).join("\n")));
    }
  }
}

async function ask(method, path, body, signal) {
  for (let tries = 0; ; tries++) {
    const used = key();
    const response = await send(method, path, body, signal, used);
    if (response.ok) return response;
    const error = await told(response);
    if (response.status === 401 && (key() !== used || (await wantKey(error.message)))) continue;
    const wait = Number(response.headers.get("Retry-After"));
    if ((response.status === 429 || response.status === 503) && wait > 0 && wait <= LONGEST_WAIT && tries < PATIENCE) {
      hooks.busy(wait);
      await pause(wait, signal);
      continue;
    }
    throw error;
  }
}

async function send(method, path, body, signal, used) {
  const headers = used ? { Authorization: `Bearer ${used}` } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
    hooks.online();
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    hooks.offline();
    throw new ApiError("offline", t("offline"));
  }
}

async function told(response) {
  try {
    const { error } = await response.json();
    return new ApiError(error.code, error.message, response.status);
  } catch {
    return new ApiError("unknown", t("unknownAnswer", response.status), response.status);
  }
}

function wantKey(message) {
  asking ??= hooks.askKey(message).finally(() => (asking = null));
  return asking;
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)));
  });
}

function stored(storage) {
  try {
    return storage.getItem(NAME);
  } catch {
    return null;
  }
}
