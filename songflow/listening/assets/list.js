// The window of the list: the scrollbar is that of all songs, and only the rows near the screen are drawn.
import { get, isStale } from "./api.js";
import { room } from "./bus.js";
import { card } from "./card.js";
import { byId, element } from "./dom.js";

const PAGE = 50;            // songs of one request
const KEPT_PAGES = 20;
const AROUND = 6;           // rows that are drawn beyond each edge of the screen
const TALLEST = 15_000_000; // browsers limit an element's height; beyond it, the scrollbar is scaled
const PAUSE_MS = 60;        // while somebody drags the scrollbar, pages in between are not fetched

const scroller = byId("songs");
const space = byId("space");
const rows = new Map();     // position -> its element
const pages = new Map();    // page number -> its songs, the longest unused first
const asked = new Map();    // page number -> the AbortController of its request
let total = 0;
let drawn = 0;              // the position at the top when rows were last drawn
let starting = null;        // the AbortController of the search's first request
let run = 0;                // the number of the search; answers of an earlier one are dropped
let timer = 0;

const rowHeight = () => parseFloat(getComputedStyle(scroller).getPropertyValue("--row")) || 100;
const wholeHeight = () => total * rowHeight();
const shownHeight = () => Math.min(wholeHeight(), TALLEST);
// How far the list moves for each pixel of the scrollbar: 1 unless it is scaled.
const scale = () => {
  const room_ = shownHeight() - scroller.clientHeight;
  return room_ > 0 ? Math.max(1, (wholeHeight() - scroller.clientHeight) / room_) : 1;
};
const topOfScreen = () => scroller.scrollTop * scale();

export const firstPosition = () => Math.round(topOfScreen() / rowHeight());

const songAt = (position) => pages.get(Math.floor(position / PAGE))?.[position % PAGE] ?? null;

const place = (row, position) => {
  const y = position * rowHeight() - topOfScreen() + scroller.scrollTop;
  row.style.transform = `translateY(${y}px)`;
};

const rowOf = (position) => {
  const song = songAt(position);
  const row = song ? card(song) : element("article", { className: "waiting", ariaBusy: "true" });
  row.setAttribute("aria-posinset", position + 1);
  row.setAttribute("aria-setsize", total);
  row.dataset.position = position;
  return row;
};

const ask = async (number) => {
  if (asked.has(number) || pages.has(number)) return;
  const asking = run;
  const abort = new AbortController();
  asked.set(number, abort);
  try {
    const found = await get("/songs", { start: number * PAGE, count: PAGE }, { search: room.search, signal: abort.signal });
    if (asking === run) took(number, found);
  } catch (error) {
    if (!isStale(error) && asking === run) room.trouble(`The songs cannot be read: ${error.message}`);
  } finally {
    if (asked.get(number) === abort) asked.delete(number);
  }
};

const took = (number, found) => {
  found.songs.forEach((song, index) => { song.position = found.start + index; });
  pages.set(number, found.songs);
  while (pages.size > KEPT_PAGES) pages.delete(pages.keys().next().value);
  if (found.total !== total) resize(found.total);
  for (let position = found.start; position < found.start + PAGE; position += 1) redraw(position);
  draw();
};

const resize = (count) => {
  total = count;
  space.style.height = `${shownHeight()}px`;
  room.emit("found", { total });
};

const redraw = (position) => {
  const old = rows.get(position);
  if (!old) return;
  const held = old.contains(document.activeElement) ? document.activeElement.ariaLabel : null;
  const made = rowOf(position);
  old.replaceWith(made);
  rows.set(position, made);
  place(made, position);
  if (held) [...made.querySelectorAll("button, a")].find((one) => one.ariaLabel === held)?.focus();
};

const draw = () => {
  const top = topOfScreen();
  drawn = top / rowHeight();
  const first = Math.max(0, Math.floor(top / rowHeight()) - AROUND);
  const last = Math.min(total - 1, Math.ceil((top + scroller.clientHeight) / rowHeight()) + AROUND);
  for (const [position, row] of rows) {
    if (position >= first && position <= last) continue;
    row.remove();
    rows.delete(position);
  }
  for (let position = first; position <= last; position += 1) {
    let row = rows.get(position);
    if (!row) {
      row = rowOf(position);
      rows.set(position, row);
      // In the order of the list, so that Tab and screen readers follow it.
      const after = rows.get(position + 1);
      if (after) after.before(row); else space.append(row);
    }
    place(row, position);
  }
  fetchPages(first, last);
};

const fetchPages = (first, last) => {
  const near = new Set();
  for (let number = Math.floor(first / PAGE); number <= Math.floor(last / PAGE); number += 1) near.add(number);
  for (const [number, abort] of asked) {
    if (near.has(number)) continue;
    abort.abort();
    asked.delete(number);
  }
  for (const number of near) {
    if (!pages.has(number)) { ask(number); continue; }
    const songs = pages.get(number);  // used: it stays
    pages.delete(number);
    pages.set(number, songs);
  }
};

// Begin anew with the search, at a position; what is drawn stays until the answer is there.
const start = async (position = 0) => {
  run += 1;
  const asking = run;
  for (const abort of [starting, ...asked.values()]) abort?.abort();
  asked.clear();
  const number = Math.floor(position / PAGE);
  starting = new AbortController();
  try {
    const found = await get("/songs", { start: number * PAGE, count: PAGE }, { search: room.search, signal: starting.signal });
    if (asking !== run) return;
    pages.clear();
    rows.clear();
    space.replaceChildren();
    total = -1;
    resize(found.total);
    if (position !== firstPosition()) jump(position);
    took(number, found);
    room.trouble("");
  } catch (error) {
    if (!isStale(error) && asking === run) room.trouble(`The library cannot be read: ${error.message}`);
  }
};

const jump = (position) => { scroller.scrollTop = (position * rowHeight()) / scale(); };

const positionOf = async (id) => (await get(`/songs/${id}/position`, {}, { search: room.search })).position;

const know = (id) => [...pages.values()].flat().find((song) => song.id === id) ?? null;

// Scroll to a song, given as its card or id; false if the search does not find it.
room.show = async (song) => {
  const id = song.id ?? song;
  const position = await positionOf(id);
  if (position === null) return false;
  const first = Math.ceil(topOfScreen() / rowHeight());
  const fit = Math.floor(scroller.clientHeight / rowHeight());
  if (position < first || position >= first + fit) {
    const middle = Math.max(0, position - Math.floor(fit / 2));
    if (Math.abs(middle - first) > PAGE) await start(middle); else jump(middle);
  }
  draw();
  mark(id);
  return true;
};

// The card that a link has led to.
const mark = (id) => {
  for (const row of rows.values()) row.classList.toggle("shown", row.id === `song-${id}`);
  marked = id;
};
let marked = null;

room.neighbour = async (step) => {
  if (room.song === null) return null;
  const here = await positionOf(room.song.id);
  const there = (here ?? -1) + step;
  if (here === null || there < 0 || there >= total) return null;
  if (!songAt(there)) await ask(Math.floor(there / PAGE));
  return songAt(there);
};

// The songs of other generations may have come before those on the screen: these stay where they are.
const refresh = async () => {
  const first = firstPosition();
  const anchor = first > 0 ? songAt(first) : null;
  const position = anchor ? await positionOf(anchor.id) : null;
  await start(position ?? first);
};

room.on("search", () => start(0));
room.on("number", refresh);
room.on("play", () => {
  for (const row of rows.values()) row.classList.toggle("playing", row.id === `song-${room.song.id}`);
});
room.on("drawn", ({ song, card: made }) => made.classList.toggle("shown", song.id === marked));
room.on("changed", (song) => {
  const known = know(song.id);
  if (!known) return;
  Object.assign(known, song);
  redraw(known.position);
});

// At once, unless somebody is dragging the scrollbar over many songs: then where it rests.
let scrolled = 0;
scroller.addEventListener("scroll", () => {
  const position = topOfScreen() / rowHeight();
  const isDragged = performance.now() - scrolled < PAUSE_MS && Math.abs(position - drawn) > PAGE;
  scrolled = performance.now();
  clearTimeout(timer);
  timer = setTimeout(() => { draw(); room.emit("moved"); }, isDragged ? PAUSE_MS : 0);
}, { passive: true });
new ResizeObserver(() => { if (total > 0) { space.style.height = `${shownHeight()}px`; draw(); } }).observe(scroller);

export { start };
