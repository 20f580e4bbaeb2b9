// A page of songs that is sent to somebody, who judges them and sends a small file back.
import { read } from "../address.js";
import { room } from "../bus.js";
import { button, nameOf } from "../controls.js";
import { byId, element } from "../dom.js";
import "../filters.js";
import { createJudge } from "../judge.js";
import { createKeys } from "../keys.js";
import { firstPosition } from "../list.js";
import { createPlayer } from "../player.js";
import { songKeys } from "../song_keys.js";
import { createTheme } from "../theme.js";
import { get, kept, page, send, total } from "../api.js";
import { createWords } from "./words.js";

const PERSON = "songflow.person";
const { trouble } = room;
const announce = (text) => { byId("status").textContent = text; };

// --- saving ---
const person = byId("person");
try { person.value = localStorage.getItem(PERSON) ?? ""; } catch { /* it is asked again */ }
person.addEventListener("change", () => {
  try { localStorage.setItem(PERSON, person.value.trim()); } catch { /* it is asked again */ }
});
const showKept = () => {
  const [count, unsaved] = [kept.count, kept.unsaved];
  const forgets = kept.isStored ? "" : " This browser forgets them when you close the page.";
  byId("kept").textContent = count === 0 ? "" : `${count} judged, ${unsaved === 0 ? "all" : count - unsaved} saved.${forgets}`;
};
const save = () => {
  const by = person.value.trim();
  if (by === "") {
    trouble("Write your name first: it is saved with your ratings.");
    person.focus();
    return;
  }
  trouble("");
  const address = URL.createObjectURL(new Blob([kept.file(by)], { type: "application/json" }));
  element("a", { href: address, download: `ratings-${by.replace(/[^\p{L}\p{N}]+/gu, "-")}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  announce("Saved: send the file back to whoever sent you this page");
  showKept();
};
byId("save").addEventListener("click", save);

// --- listening and judging ---
const neighbour = async (song, step) => {
  if (room.song !== null) return room.neighbour(step);
  return (await get("/songs", { start: firstPosition(), count: 1 }, { search: room.search })).songs[0] ?? null;
};
const judge = createJudge({
  send, trouble, announce, memory: `songflow.undo.${page}`, judged: (state) => { room.emit("changed", state); showKept(); },
});
const words = createWords();
const player = createPlayer(byId("player"), {
  neighbour,
  trouble,
  changed: (song) => {
    player.extra.replaceChildren(judge.controls(song));
    room.song = song;
    room.emit("play", { song, at: 0, isPlaying: true });
    document.title = nameOf(song);
  },
});
room.on("play", ({ song, at, isPlaying }) => { if (!isPlaying) player.play(song, { at }); });
room.on("drawn", ({ song, card }) => {
  card.querySelector(".actions").append(judge.controls(song));
  card.querySelector(".title").addEventListener("click", () => words.show(song));
});
const keys = createKeys([
  ...songKeys({ player, judge }),
  { keys: ["i"], does: "Lyrics and parameters", when: () => player.current !== null, run: () => words.show(player.current) },
  { keys: ["/"], does: "Search", run: () => { byId("find").focus(); byId("find").select(); } },
]);

byId("desk").append(button("Keys (?)", keys.show), createTheme(player.redraw));
room.emit("library", { songs: total });
showKept();
read();
