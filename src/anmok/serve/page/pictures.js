// Pictures on their way in (chosen, dropped, pasted; made smaller before they are sent) and out (thumbnails).

import { blob, key } from "./api.js";
import { h } from "./dom.js";

const SIDE = 768; // pixels; models look at less
const SMALL = 200_000; // bytes; a smaller file is sent as it is
const KEPT = 500; // thumbnails fetched with a key that are kept
const NAMES = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|heic|heif|jfif)$/i;

export const isPicture = (file) => file.type.startsWith("image/") || NAMES.test(file.name);

/** A hidden file field; `chosen` is given its files. Its `click()` opens the browser's own window. */
export function chooser(chosen, { folder = false } = {}) {
  const input = h("input", { type: "file", multiple: true, hidden: true, tabindex: -1, accept: folder ? undefined : "image/*", webkitdirectory: folder });
  input.onchange = () => {
    chosen([...input.files].map((file) => named(file, file.webkitRelativePath)));
    input.value = "";
  };
  return input;
}

/** The files of a drop or a paste; folders with all that is in them. */
export async function filesOf(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = await Promise.all(entries.map((entry) => (entry instanceof File ? [named(entry)] : walk(entry, ""))));
  return found.flat();
}

/** A picture to ask about, as a data URI; a large one is made smaller first. */
export async function prepared(file) {
  return dataUri(file.size > SMALL ? await smaller(file).catch(() => file) : file);
}

/** A file as a data URI. */
export function dataUri(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.replace(/^data:[^,]*,/, `data:${file.type || "application/octet-stream"};base64,`));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

/** An <img> of a picture of the service, fetched when it comes near. With a key it comes as a Blob. */
export function thumbnail(path, alt = "") {
  const image = h("img", { alt, decoding: "async", draggable: "false" });
  const failed = () => image.classList.add("gone");
  image.onload = () => image.classList.add("there");
  if (key()) {
    waiting.set(image, path);
    nearby.observe(image);
  } else {
    image.loading = "lazy";
    image.onerror = () => {
      image.onerror = failed;
      fetched(path).then((url) => (image.src = url), failed); // once more, with the patience that the API asks for
    };
    image.src = path;
  }
  return image;
}

const waiting = new WeakMap();
const blobs = new Map(); // path → object URL, the longest unused first
const nearby = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      nearby.unobserve(target);
      fetched(waiting.get(target)).then((url) => (target.src = url), () => target.classList.add("gone"));
    }
  },
  { rootMargin: "600px" },
);

async function fetched(path) {
  const url = blobs.get(path) ?? URL.createObjectURL(await blob(path));
  blobs.delete(path);
  blobs.set(path, url);
  if (blobs.size > KEPT) {
    const [oldest, gone] = blobs.entries().next().value;
    blobs.delete(oldest);
    URL.revokeObjectURL(gone);
  }
  return url;
}

async function smaller(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, SIDE / Math.min(bitmap.width, bitmap.height));
  const canvas = h("canvas", { width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale) });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob((made) => resolve(made && made.size < file.size ? made : file), "image/webp", 0.9));
}

function walk(entry, above) {
  if (entry.isFile) return new Promise((resolve) => entry.file((file) => resolve([named(file, above + file.name)]), () => resolve([])));
  const reader = entry.createReader();
  return new Promise((resolve) => {
    const found = [];
    const next = () =>
      reader.readEntries(
        (entries) => (entries.length ? (found.push(...entries), next()) : resolve(Promise.all(found.map((one) => walk(one, `${above}${entry.name}/`))))),
        () => resolve([]),
      );
    next();
  }).then((lists) => lists.flat());
}

/** The path in its folder stays with a file: `picture.path`. */
function named(file, path) {
  file.path = path || file.name || "picture.png";
  return file;
}
