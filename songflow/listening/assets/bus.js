// What the modules of the room share; README.md lists the events.
import { byId } from "./dom.js";

const events = new EventTarget();

export const room = {
  search: new URLSearchParams(),
  song: null,

  on(name, handler) {
    events.addEventListener(name, (event) => handler(event.detail));
  },
  emit(name, detail) {
    events.dispatchEvent(new CustomEvent(name, { detail }));
  },

  // Change the search: {find: "waltz", model: ["a", "b"], rating_from: null}; null and "" take a filter away.
  find(changes) {
    const search = new URLSearchParams(room.search);
    for (const [name, value] of Object.entries(changes)) {
      search.delete(name);
      for (const one of [value].flat()) if (one !== null && one !== "") search.append(name, one);
    }
    search.sort();
    if (search.toString() === room.search.toString()) return;
    room.search = search;
    room.emit("search", search);
  },

  // Put a song into the player, from a second on.
  play(song, at = 0) {
    room.song = song;
    room.emit("play", { song, at });
  },

  trouble(text) {
    byId("trouble").textContent = text;
    byId("trouble").hidden = text === "";
  },
};
