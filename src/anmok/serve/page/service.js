// What the service says of itself: limits, rights of the key, models, collections. Asked once, and again when it matters.

import { get } from "./api.js";

const USUAL = { picture_bytes: 20 << 20, request_bytes: 64 << 20, pictures_per_request: 64, labels_per_request: 1000 };

let facts = null;

/** The answer of /v1/status. */
export async function status(fresh = false) {
  if (fresh || !facts) facts = await get("/v1/status");
  return facts;
}

/** Forget it: another key may have other rights. */
export const forget = () => (facts = null);

export const limits = () => ({ ...USUAL, ...facts?.limits });

/** Whether the key may change things; assumed until known. */
export const mayWrite = () => facts?.scopes?.includes("write") ?? true;

export const hasRoots = () => Boolean(facts?.roots?.length);

export const models = () => facts?.models?.map((model) => model.name) ?? [];

/** All collections, by name. */
export const collections = async (signal) => (await get("/v1/collections", signal)).collections;
