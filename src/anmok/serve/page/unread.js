// What the service warns of: words in a script that the model cannot read.

import { h, icon } from "./dom.js";
import { t } from "./words.js";

const NAMED = 3; // words

/**
 * The warnings of an answer, in place. `words`: what was asked, in the order of the request; `act(model)` gives a button
 * that brings a model in which can read them, or nothing.
 */
export function unread(warnings, model, words, act) {
  return warnings.map(({ items, models }) => {
    const named = items.slice(0, NAMED).map((i) => `“${words[i]}”`).join(", ") + (items.length > NAMED ? " …" : "");
    const way = models.length ? t("readBy", models.join(", ")) : t("readByNone");
    return h("p.caution", {}, icon("alert"), h("span", {}, h("b", {}, t("unread", model, named)), " ", t("unreadSo"), " ", way), models.length > 0 && act?.(models[0]));
  });
}
