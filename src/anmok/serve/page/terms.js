// The terms of a search: words and pictures as chips, each with a weight from -2 to 2.

import { button, h } from "./dom.js";
import { t } from "./words.js";

/** What the arithmetic of a text says, as terms: "2:red bag - leather". As the API reads it, quotes left aside. */
export function termsOf(text) {
  const parts = text.split(/\s+([+-])\s+|^\s*(-)\s*/).filter((part) => part !== undefined && part !== "");
  let sign = 1;
  const terms = [];
  for (const part of parts) {
    if (part === "+" || part === "-") sign = part === "-" ? -1 : 1;
    else {
      const [, weight, words] = part.match(/^(?:(\d+(?:\.\d+)?):)?(.*)$/s);
      if (words.trim()) terms.push({ text: words.trim(), weight: sign * Number(weight ?? 1) });
      sign = 1;
    }
  }
  return terms;
}

/** A term as the API takes it. */
export const asked = ({ text, picture, weight }) => (text === undefined ? { picture, weight } : { text, weight });

/** The chip of a term. `alone`: with nothing to weigh it against. `changed` after a new weight, `gone` to remove it. */
export function chip(term, { alone, changed, gone }) {
  const name = term.text ?? t("picture");
  const shown = h("output", {}, signed(term.weight));
  const slide = (event) => {
    term.weight = Number(event.target.value);
    shown.textContent = signed(term.weight);
    whole.classList.toggle("minus", term.weight < 0);
    changed();
  };
  const slider = h("input", { type: "range", min: -2, max: 2, step: 0.1, value: term.weight, oninput: slide, "aria-label": t("weightOf", name) });
  const whole = h(
    `li.chip${term.weight < 0 ? ".minus" : ""}${alone ? ".alone" : ""}`,
    {},
    term.src ? h("img", { src: term.src, alt: name }) : h("span.name", {}, name),
    !alone && slider,
    !alone && shown,
    button("quiet.round", "close", null, gone, { label: t("removeTerm", name) }),
  );
  return whole;
}

const signed = (weight) => (weight < 0 ? "−" : "+") + Math.abs(weight).toFixed(1);
