// The server's part of the room, on a page that was sent to somebody: its songs stand in the page, and what is judged is
// kept by the browser. This module takes the place of ../api.js (see ../../bundle.py).
import { byId } from "../dom.js";
import { createKept } from "./kept.js";

const data = JSON.parse(byId("data").textContent);
const songs = data.songs;
const of = new Map(songs.map((song) => [song.id, song]));
const BY_NUMBER = { longest: ["seconds", -1], shortest: ["seconds", 1], rating: ["rating", -1] };

export const page = data.page;
export const total = songs.length;
export const kept = createKept(page, songs);
for (const song of songs) Object.assign(song, kept.standing(song));

const searched = (song) => [song.title, song.request.prompt, song.lyrics, ...song.tags, song.song_id].filter(Boolean).join("\n").toLowerCase();
const texts = new Map(songs.map((song) => [song, searched(song)]));

// The songs of a search, in its order; a song without the number that they are ordered by comes last.
const found = (search) => {
  const words = (search.get("find") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const least = Number(search.get("rating_from") ?? 0);
  const shown = songs.filter((song) => words.every((word) => texts.get(song).includes(word))
    && (search.get("rating") !== "none" || song.rating === null) && (least === 0 || song.rating >= least));
  const order = search.get("order");
  if (order === "oldest") return shown.reverse();
  if (order === "title") return shown.sort((one, other) => (one.title ?? "").localeCompare(other.title ?? ""));
  const [name, way] = BY_NUMBER[order] ?? [];
  if (name === undefined) return shown;
  return shown.sort((one, other) => (one[name] === null) - (other[name] === null) || way * (one[name] - other[name]));
};

const song = (path) => {
  const one = of.get(Number(path.split("/")[2]));
  if (one === undefined) throw new Error("it is not on this page");
  return one;
};

export const get = async (path, { start = 0, count = 0 } = {}, { search = new URLSearchParams() } = {}) => {
  if (path === "/songs") {
    const all = found(search);
    return { start, total: all.length, songs: all.slice(start, start + count) };
  }
  const one = song(path);
  if (path.endsWith("/position")) {
    const position = found(search).indexOf(one);
    return { position: position < 0 ? null : position };
  }
  return { ...one, takes: songs.filter((other) => other.group === one.group) };
};

export const send = async (method, path, body) => {
  if (path === "/judgements/undo") {
    const one = kept.undo(body.judgement);
    return { songs: one === null ? [] : [Object.assign(one, kept.standing(one))] };
  }
  const [[kind, value]] = Object.entries(body);
  const one = song(path);
  const judgement = kept.add(one, kind, value);
  return { id: one.id, ...Object.assign(one, kept.standing(one)), judgement };
};

export const isStale = (error) => error.name === "AbortError";

export const fileOf = (one, name) => (of.get(one.id) ?? one)[name];
