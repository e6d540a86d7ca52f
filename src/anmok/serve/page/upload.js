// Uploads to collections: in parts within the service's limits, going on after single failures and between screens.

import { address, post } from "./api.js";
import { dataUri, isPicture } from "./pictures.js";
import { limits } from "./service.js";
import { size, t } from "./words.js";

const PART = 16; // pictures in one request
const PART_BYTES = 8 << 20; // of their files

const uploads = new Map(); // collection → Upload, the last one

/** The last upload to a collection, or undefined. */
export const uploadTo = (collection) => uploads.get(collection);

/** Send files to a collection. `changed(upload)` is called as it goes on. */
export function upload(collection, files, changed) {
  const one = new Upload(collection, files, changed);
  uploads.set(collection, one);
  one.run();
  return one;
}

addEventListener("beforeunload", (event) => [...uploads.values()].some((one) => one.running) && event.preventDefault());

class Upload {
  constructor(collection, files, changed) {
    Object.assign(this, { collection, changed, total: files.length, done: 0, added: 0, known: 0, failed: [], running: true });
    this.control = new AbortController();
    this.queue = parts(files.filter((file) => this.#fits(file)));
  }

  async run() {
    this.changed(this);
    while (this.queue.length && !this.control.signal.aborted) {
      const part = this.queue.shift();
      try {
        await this.#send(part);
      } catch (error) {
        if (this.control.signal.aborted) break;
        if (error.status === 413 && part.length > 1) this.queue.unshift(...part.map((file) => [file]));
        else part.forEach((file) => this.#fail(file, error.message));
      }
      this.changed(this);
    }
    this.running = false;
    this.changed(this);
  }

  cancel() {
    this.control.abort();
  }

  /** Those that failed, once more. */
  again() {
    return upload(this.collection, this.failed.map(({ file }) => file), this.changed);
  }

  async #send(part) {
    const pictures = await Promise.all(part.map(async (file) => ({ id: file.path, picture: await dataUri(file) })));
    const answer = await post(address(["collections", this.collection, "pictures"]), { pictures }, this.control.signal);
    this.added += answer.added;
    answer.results.forEach(({ error }, i) => {
      if (!error) this.done++;
      else if (error.code === "conflict") this.done++, this.known++;
      else this.#fail(part[i], error.message);
    });
  }

  #fits(file) {
    const { picture_bytes: most } = limits();
    const problem = !isPicture(file) ? t("notAPicture") : file.size > most ? t("tooLarge", size(file.size), size(most)) : null;
    if (problem) this.#fail(file, problem);
    return !problem;
  }

  #fail(file, message) {
    this.done++;
    this.failed.push({ file, message });
  }
}

function parts(files) {
  const most = Math.min(PART, limits().pictures_per_request);
  const bytes = Math.min(PART_BYTES, limits().request_bytes / 2); // base64 and the rest take their part
  const made = [];
  let weight = 0;
  for (const file of files) {
    const last = made.at(-1);
    if (!last || last.length >= most || weight + file.size > bytes) {
      made.push([file]);
      weight = file.size;
    } else {
      last.push(file);
      weight += file.size;
    }
  }
  return made;
}
