// Requests to the room's server. Errors have the server's own sentence as their message, and its status.
import { room } from "./bus.js";

const token = document.querySelector('meta[name="songflow-token"]')?.content ?? "";

const read = async (answer) => {
  if (answer.ok) return answer.json();
  const body = await answer.text();
  let detail = body;
  try { detail = JSON.parse(body).detail ?? body; } catch { /* a plain sentence */ }
  const reason = typeof detail === "string" && detail ? detail : `the server answered ${answer.status}`;
  throw Object.assign(new Error(reason), { status: answer.status });
};

// get("/songs", {start: 0}, {search, signal}): parameters are added to those of a search.
export const get = async (path, parameters = {}, { search, signal } = {}) => {
  const query = new URLSearchParams(search);
  for (const [name, value] of Object.entries(parameters)) query.append(name, value);
  const text = query.toString();
  const asked = performance.now();
  const answer = await read(await fetch(text ? `${path}?${text}` : path, { signal }));
  room.emit("answered", { answer, asked });
  return answer;
};

// send("PUT", "/songs/1/rating", {rating: 4}): what changes something.
export const send = async (method, path, body = {}) => read(await fetch(path, {
  method,
  headers: { "Content-Type": "application/json", "X-Songflow-Token": token },
  body: JSON.stringify(body),
}));

// True for the error of a request that was aborted, as its answer is not wanted any more.
export const isStale = (error) => error.name === "AbortError";

// The address of a song's "audio" or "cover".
export const fileOf = (song, name) => `/songs/${song.id}/${name}`;
