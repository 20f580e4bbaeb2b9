// The page's address: ?find=waltz&order=rating&at=350#song-12 is a search, the row at the top, and a song.
import { room } from "./bus.js";
import { firstPosition, start } from "./list.js";

const songOf = (hash) => Number(/^#song-(\d+)$/.exec(hash)?.[1] ?? 0);

const written = (at) => {
  const search = new URLSearchParams(room.search);
  if (at > 0) search.set("at", at);
  const text = search.toString();
  return `${location.pathname}${text ? `?${text}` : ""}`;
};

const write = () => history.replaceState(null, "", written(firstPosition()) + location.hash);

// Read the address and show what it says.
const read = async () => {
  const search = new URLSearchParams(location.search);
  const at = Number(search.get("at") ?? 0);
  search.delete("at");
  search.sort();
  room.search = search;
  room.emit("read", search);
  await start(Number.isInteger(at) && at > 0 ? at : 0);
  await follow();
};

// Show the song that the address names, if the search finds it, else in the list of all songs.
const follow = async () => {
  const id = songOf(location.hash);
  if (!id) return;
  try {
    if (await room.show(id)) return;
    if (room.search.toString() === "") return;
    room.find(Object.fromEntries([...room.search.keys()].map((name) => [name, null])));
    room.emit("read", room.search);
    history.replaceState(null, "", `${written(0)}#song-${id}`);
    await room.show(id);
  } catch (error) {
    room.trouble(`The song cannot be shown: ${error.message}`);
  }
};

room.on("search", () => history.replaceState(null, "", written(0)));  // another search: without its song
room.on("moved", write);
room.on("play", ({ song }) => history.replaceState(null, "", `${location.pathname}${location.search}#song-${song.id}`));
addEventListener("hashchange", follow);
addEventListener("popstate", () => { if (!location.hash) read(); });

export { read };
