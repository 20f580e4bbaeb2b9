// Everything of one song, in a dialog that its title opens: lyrics, request, measures, family, ids and files.
import { get, send } from "./api.js";
import { room } from "./bus.js";
import { button } from "./controls.js";
import { element, length } from "./dom.js";

const MEASURES = {
  loudness_lufs: "loudness, LUFS", true_peak_db: "true peak, dB", loudness_range: "loudness range, LU",
  silence_start: "silence at the start, s", silence_end: "silence at the end, s", clipped_samples: "clipped samples",
  tempo: "tempo, beats a minute", centroid_hz: "brightness, Hz",
};
const dialog = element("dialog", { id: "about" });
document.body.append(dialog);
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest("a[href^='#']")) dialog.close();
});

const table = (caption, rows) => {
  const shown = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  if (!shown.length) return "";
  return element("table", {}, element("caption", { textContent: caption }), ...shown.map(([name, value]) =>
    element("tr", {}, element("th", { scope: "row", textContent: name }),
      element("td", {}, value instanceof Node ? value : String(typeof value === "number" ? Number(value.toPrecision(6)) : typeof value === "object" ? JSON.stringify(value) : value)))));
};

const links = (caption, songs) => {
  if (!songs.length) return "";
  return element("section", {}, element("h3", { textContent: caption }), element("ul", {}, ...songs.map((song) =>
    element("li", {}, element("a", { href: `#song-${song.id}`, textContent: song.title ?? "untitled" }), ` take ${song.take + 1}, ${song.mode}, ${length(song.seconds)}`))));
};

const copied = (text) => {
  const made = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      made.textContent = "Copied";
    } catch (error) {
      room.trouble(`It was not copied: ${error.message}`);
    }
  });
  return element("span", {}, text, " ", made);
};

const judgement = (one) => [one.at?.slice(0, 16).replace("T", " ") ?? "", `${one.kind} ${one.value ?? (one.kind === "winner" ? `over song ${one.other_song}` : "removed")}${one.by ? `, by ${one.by}` : ""}${one.undone ? " (undone)" : ""}`];

const file = (song) => song.file && element("a", { href: `/songs/${song.id}/download`, download: song.file, textContent: song.file });

// A discarded song's files can be moved out of the way, and back.
const trash = (song) => {
  if (!song.stored) return "";
  const made = button(song.trashed ? "Bring back from the trash" : "Discard and move to the trash", async () => {
    made.disabled = true;
    try {
      room.emit("trashed", await send("PUT", `/songs/${song.id}/trash`, { trashed: !song.trashed }));
      await show(song.id);
    } catch (error) {
      dialog.close();
      room.trouble(`The song was not moved: ${error.message}`);
    }
  });
  return element("p", {}, made);
};

const show = async (id) => {
  let song;
  try {
    song = await get(`/songs/${id}`);
  } catch (error) {
    room.trouble(`The song cannot be read: ${error.message}`);
    return;
  }
  const title = element("h2", { textContent: song.title ?? "untitled" });
  const cover = song.cover ? element("img", { src: `/songs/${id}/cover`, alt: "", className: "large cover" }) : "";
  dialog.replaceChildren(
    element("div", { className: "panel-head" }, title, button("Close", () => dialog.close())),
    cover,
    element("p", { className: "facts", textContent: song.tags?.join(", ") ?? "" }),
    song.lyrics ? element("section", {}, element("h3", { textContent: "Lyrics" }), element("p", { className: "lyrics", textContent: song.lyrics })) : "",
    links("Comes from", song.ancestors),
    links("Takes of its generation", song.takes.filter((one) => one.id !== song.id)),
    links("Extensions", song.extensions),
    table("Request", Object.entries(song.fields).map(([name, value]) => [name.replaceAll("_", " "), value])),
    table("Sound", Object.entries(MEASURES).map(([name, shown]) => [shown, song.measures?.[name]])),
    table("Song", [
      ["gateway", song.gateway], ["price of the generation", song.price], ["cost of this song", song.cost], ["made", song.made_at?.slice(0, 19).replace("T", " ")],
      ["id", song.song_id && copied(song.song_id)], ["generation", song.generation_id], ["key", copied(song.key)],
      ["file", file(song)], ["SHA-256", song.sha256],
    ]),
    table("Judgements", song.judgements.map(judgement)),
    trash(song));
  dialog.setAttribute("aria-label", `About ${song.title ?? "untitled"}`);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
};

room.on("drawn", ({ song, card }) => card.querySelector(".title").addEventListener("click", () => show(song.id)));

export { show };
