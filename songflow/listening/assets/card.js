// One song of the list. Its height is the same for all songs (--row in room.css).
import { fileOf } from "./api.js";
import { room } from "./bus.js";
import { iconButton } from "./controls.js";
import { element, length } from "./dom.js";

const lineage = (song) => {
  if (song.parent_song_id === null) return "";
  const relation = `${song.mode} of `;
  if (!song.parent) return element("span", { className: "from" }, relation, song.parent_song_id);
  const link = element("a", { href: `#song-${song.parent.id}`, textContent: song.parent.title ?? "untitled" });
  return element("span", { className: "from" }, relation, link);
};

const cover = (song) => {
  if (!song.cover) return element("span", { className: "cover none", ariaHidden: "true" });
  return element("img", { className: "cover", src: fileOf(song, "cover"), alt: "", loading: "lazy", decoding: "async" });
};

// What was chosen in the request, with short names; the rest has its default.
const parameters = (request) => Object.entries(request)
  .filter(([name, value]) => !["prompt", "model_type", "lyrics"].includes(name) && value !== null && value !== undefined
    && value !== "" && !(name === "seed" && value === -1) && typeof value !== "object")
  .map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`);

const price = (cost) => (cost === null ? "" : `cost ${Number(cost.toPrecision(4))}`);

export const card = (song) => {
  const title = song.title ?? "untitled";
  const button = iconButton("play", `Play ${title}`, () => room.play(song), { className: "icon play", disabled: !song.stored });
  const part = song.joined ? `new part ${length(song.seconds)}, played in the whole song` : length(song.seconds);
  const facts = [`take ${song.take + 1}`, song.state === "stored" ? "" : song.state, part, song.model,
    ...parameters(song.chosen), price(song.cost)].filter(Boolean).join(" · ");
  const remark = song.error ?? song.notes ?? song.note;
  const made = element("article", { id: `song-${song.id}` },
    cover(song),
    button,
    element("div", { className: "what" },
      element("h2", {}, element("button", { type: "button", className: "title", textContent: title, title })),
      element("p", { className: "prompt", textContent: song.request.prompt ?? "", title: song.request.prompt ?? "" }),
      element("p", { className: "facts", title: facts }, lineage(song), song.parent_song_id === null ? "" : " · ", facts),
      remark ? element("p", { className: "note", textContent: remark, title: remark }) : ""),
    element("div", { className: "actions" }));
  made.classList.toggle("playing", room.song?.id === song.id);
  made.classList.toggle("discarded", song.decision === "discard");
  room.emit("drawn", { song, card: made });
  return made;
};
