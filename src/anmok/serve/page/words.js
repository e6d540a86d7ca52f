// The language of the page: which one, its texts, and how it writes numbers.

import en from "./en.js";
import ko from "./ko.js";

const WORDS = { en, ko };

export let language = stored() || (navigator.languages?.some((one) => one.toLowerCase().startsWith("ko")) ? "ko" : "en");

/** A text by its key; texts that depend on values are functions in the files of words. */
export function t(key, ...values) {
  const text = WORDS[language][key] ?? en[key] ?? key;
  return typeof text === "function" ? text(...values) : text;
}

/** Change the language, and remember it. */
export function setLanguage(wanted) {
  language = wanted;
  try {
    localStorage.setItem("anmok.language", wanted);
  } catch {}
  markLanguage();
}

/** Tell the document, and fill in the texts that stand in it. */
export function markLanguage() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-words]")) element.textContent = t(element.dataset.words);
  for (const element of document.querySelectorAll("[data-words-label]")) element.setAttribute("aria-label", t(element.dataset.wordsLabel));
}

export const number = (value, digits = 0) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);

export const percent = (value) => `${Math.round(100 * value)}%`;

/** Bytes as people read them. */
export function size(bytes) {
  const step = bytes < 1e3 ? 0 : bytes < 1e6 ? 1 : bytes < 1e9 ? 2 : 3;
  return `${number(bytes / 1000 ** step, step > 1 && bytes / 1000 ** step < 100 ? 1 : 0)} ${["B", "kB", "MB", "GB"][step]}`;
}

/** Seconds as people say them. */
export function duration(seconds) {
  if (seconds < 60) return t("seconds", Math.max(1, Math.round(seconds)));
  if (seconds < 3600) return t("minutes", Math.round(seconds / 60));
  if (seconds < 172800) return t("hours", number(seconds / 3600, seconds < 36000 ? 1 : 0));
  return t("days", Math.round(seconds / 86400));
}

/** A moment, seconds since 1970. */
export const moment = (seconds) => new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1000);

function stored() {
  try {
    const value = localStorage.getItem("anmok.language");
    return value in WORDS ? value : null;
  } catch {
    return null;
  }
}
