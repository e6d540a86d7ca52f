// Long jobs of the service: watched live, one card each.

import { address, events, post } from "./api.js";
import { button, fill, h, progress, toast, trouble } from "./dom.js";
import { duration, number, t } from "./words.js";

const AGAIN = 3000; // milliseconds until a watch that broke off is begun anew

export const over = (job) => ["done", "failed", "cancelled"].includes(job.state);

/** Hear of every change of a job until it is over, or the signal says stop. */
export async function watch(id, heard, signal) {
  let job = null;
  while (!signal.aborted && !(job && over(job))) {
    try {
      await events(address(["jobs", id, "events"]), (now) => heard((job = now)), signal);
    } catch (error) {
      if (signal.aborted || error.status === 404) return;
    }
    if (!(job && over(job))) await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}

/** The card of a job; call `draw(job)` with what was heard. */
export class JobCard {
  constructor() {
    this.element = h("li.job", {});
  }

  draw(job) {
    const { done, total, rate, remaining_s: left } = job.progress ?? {};
    const running = !over(job);
    const part = total ? done / total : null;
    const facts = [
      total ? t("doneOf", number(done), number(total)) : done ? number(done) : null,
      rate && running && t("perSecond", number(rate, 1)),
      left && running && t("left", duration(left)),
    ].filter(Boolean);
    this.element.className = `job ${job.state}`;
    fill(this.element, [
      h("header", {}, h("b", {}, title(job)), h("span.state", {}, t(running && job.cancelling ? "state.cancelling" : `state.${job.state}`)), running && !job.cancelling && button("quiet", "close", t("cancel"), () => this.#cancel(job))),
      running && progress(job.state === "queued" ? null : part, title(job)),
      running && facts.length ? h("p.hint", {}, facts.join(" · ")) : null,
      job.error && trouble({ message: job.error }),
      job.state === "done" && result(job),
    ]);
  }

  async #cancel(job) {
    try {
      await post(address(["jobs", job.id, "cancel"]));
    } catch (error) {
      toast(error.message);
    }
  }
}

function title({ kind, arguments: given }) {
  return kind === "index" ? t("indexing", given.folder ?? "") : t("reencoding", given.model ?? "");
}

function result({ kind, result }) {
  if (!result) return null;
  const failed = result.failed_count ?? result.failed?.length ?? 0;
  const counts = { new: result.added, renewed: result.changed, same: result.unchanged, gone: result.removed };
  const told = Object.entries(counts).filter(([, count]) => count).map(([name, count]) => t(name, number(count)));
  if (failed) told.push(t("failedCount", number(failed))); // the screen lists them with their reasons
  if (kind !== "index") told.unshift(t("reencoded", number(result.pictures ?? 0)));
  return told.length > 0 && h("p.hint", {}, told.join(" · "));
}

/** What failed, and why: folded, because it may be long. */
export function failures(list, total) {
  const row = (one) => h("li", {}, h("b", {}, one.picture ?? one.id ?? one.file?.path), h("span", {}, one.error ?? one.message));
  return h("details.failures", {}, h("summary", {}, t("failedCount", number(total))), h("ul", {}, list.map(row)));
}
