// The desk: player, judging, comparing, making and the keys, put together with the list.
import { get, send } from "./api.js";
import { room } from "./bus.js";
import { createComparison } from "./compare.js";
import { button } from "./controls.js";
import { byId, element } from "./dom.js";
import { createGrid } from "./grid.js";
import { createJudge } from "./judge.js";
import { createKeys } from "./keys.js";
import { firstPosition } from "./list.js";
import { createMaking } from "./make.js";
import { createPanel } from "./panel.js";
import { createPlayer } from "./player.js";
import { createQueue } from "./queue.js";
import { songKeys } from "./song_keys.js";
import { createTheme } from "./theme.js";

const status = element("p", { className: "said-only", role: "status" });
document.body.append(status);
const announce = (text) => { status.textContent = text; };
const { trouble } = room;

// The song before or after the one that plays; without one, the first that the list shows.
const neighbour = async (song, step) => {
  const inGrid = grid.neighbour(song, step);
  if (inGrid !== undefined) return inGrid;
  if (room.song !== null) return room.neighbour(step);
  return (await get("/songs", { start: firstPosition(), count: 1 }, { search: room.search })).songs[0] ?? null;
};

let queue = null;
const judge = createJudge({ send, trouble, announce, judged: (state) => { room.emit("changed", state); queue.judged(state); } });
room.on("trashed", (state) => judge.take([state]));
room.on("answered", ({ answer, asked }) => {
  const songs = [answer, answer.songs, answer.takes, answer.cells?.map((one) => one.songs)].flat(2);
  judge.arrived(songs.filter((one) => one?.rating !== undefined), asked);
});
const making = createMaking({ announce });
const player = createPlayer(byId("player"), {
  neighbour,
  trouble,
  changed: (song, blind) => {
    if (blind) { player.extra.replaceChildren(); return; }
    player.extra.replaceChildren(judge.controls(song), button("Make more", () => making.open(song, "more"), { id: "make" }));
    room.song = song;
    room.emit("play", { song, at: 0, isPlaying: true });
    grid.markPlaying();
  },
});
room.on("play", ({ song, at, isPlaying }) => { if (!isPlaying) player.play(song, { at }); });
room.on("drawn", ({ song, card }) => card.querySelector(".actions").append(judge.controls(song)));

const panel = createPanel(byId("panel"), [byId("songs"), byId("filters")]);
const shared = { panel, player, judge, get, trouble, announce };
const comparison = createComparison(shared);
queue = createQueue(shared);
const grid = createGrid({ ...shared, compare: (ids) => comparison.pair(ids, true), compareRun: comparison.queue, queueRun: queue.open });

// The songs that `c` has marked, to be compared.
let marked = [];
const mark = () => {
  const song = player.current;
  marked = [...marked.filter((id) => id !== song.id), song.id].slice(-2);
  announce(marked.length === 2 ? "Comparing the two marked songs" : "Marked: play another song and press c again");
  if (marked.length === 2) { comparison.pair(marked, false); marked = []; }
};

const playing = () => player.current !== null && !player.blind;
const keys = createKeys([
  ...songKeys({ player, judge }),
  { keys: ["c"], does: "Mark the song; the second one that is marked is compared with it", when: playing, run: mark },
  { keys: ["v"], does: "Compare takes blind, pair after pair", run: () => comparison.queue() },
  { keys: ["q"], does: "What is not judged yet, one after another", run: () => queue.open() },
  { keys: ["g"], does: "Sweeps as a grid", run: grid.open },
  { keys: ["e"], does: "Extend the song", when: playing, run: () => making.open(player.current, "extend") },
  { keys: ["l"], does: "Make more like the song", when: playing, run: () => making.open(player.current, "more") },
  { keys: ["r"], does: "Make the song again with other parameters", when: playing, run: () => making.open(player.current, "again") },
  { keys: ["a", "b"], does: "In a comparison: hear A or B at the same second", when: () => comparison.isOpen, run: (key) => comparison.hear("ab".indexOf(key)) },
  { keys: ["x"], does: "In a comparison: hear the other one", when: () => comparison.isOpen, run: comparison.other },
  { keys: ["w"], does: "In a comparison: the one that is heard wins", when: () => comparison.isOpen, run: comparison.choose },
  { keys: ["s"], does: "Skip this pair, or this song of the queue", when: () => comparison.isOpen || queue.isOpen, run: () => (comparison.isOpen ? comparison.next() : queue.skip()) },
  { keys: ["/"], does: "Search", run: () => { panel.close(); byId("find").focus(); byId("find").select(); } },
  { keys: ["Escape"], does: "Back to the list", when: () => panel.isOpen, run: panel.close },
]);

byId("desk").replaceChildren(
  button("Not judged yet", () => queue.open()),
  button("Compare blind", () => comparison.queue()),
  button("Sweeps", grid.open),
  button("Keys (?)", keys.show),
  createTheme(player.redraw));

