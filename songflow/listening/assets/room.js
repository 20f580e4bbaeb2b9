// Listening room. All texts of songs are inserted as text (textContent), never as HTML.
const byId = (id) => document.getElementById(id);
const [list, audio, find, least, order] = ["songs", "audio", "find", "least", "order"].map(byId);
let songs = [];
let current = null;

const element = (tag, attributes = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
};

const trouble = (text) => {
  byId("trouble").textContent = text;
  byId("trouble").hidden = text === "";
};

const length = (seconds) =>
  seconds === null ? "" : `${Math.floor(seconds / 60)}:${String(Math.round(seconds % 60)).padStart(2, "0")}`;

const takesOf = (song) => songs.filter((one) => one.submission_id === song.submission_id && one.stored);

// --- playing and comparing ---

// The other take continues at the same position, so that the two can be compared.
const play = (song, at = 0) => {
  current = song;
  audio.src = `/songs/${song.id}/audio`;
  audio.addEventListener("loadedmetadata", () => { audio.currentTime = Math.min(at, audio.duration); }, { once: true });
  audio.play().catch((error) => { if (error.name !== "AbortError") trouble(`The song cannot be played: ${error.message}`); });
  byId("player").hidden = false;
  byId("playing").textContent = `${song.title ?? "untitled"} (take ${song.take + 1})`;
  byId("other").hidden = takesOf(song).length < 2;
  document.querySelectorAll("article").forEach((one) => one.classList.toggle("playing", one.id === `song-${song.id}`));
};

byId("other").addEventListener("click", () => {
  const takes = takesOf(current);
  play(takes[(takes.findIndex((one) => one.id === current.id) + 1) % takes.length], audio.currentTime);
});

// --- rating ---

const rate = async (song, rating) => {
  const answer = await fetch(`/songs/${song.id}/rating`, {
    method: "PUT",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ rating }),
  });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? answer.statusText);
  song.rating = (await answer.json()).rating;
};

const stars = (song) => {
  const group = element("span", { className: "stars", role: "group", ariaLabel: "rating" });
  const paint = () => group.querySelectorAll("button").forEach((star, place) => {
    star.ariaPressed = String(song.rating !== null && place < Math.round(song.rating));
  });
  for (let value = 1; value <= 5; value += 1) {
    const star = element("button", { type: "button", textContent: "★", title: `${value} of 5`, ariaLabel: `${value} of 5` });
    star.addEventListener("click", async () => {
      try {
        await rate(song, song.rating === value ? null : value);  // a second click removes the rating
        trouble("");
      } catch (error) {
        trouble(`The rating was not stored: ${error.message}`);
      }
      paint();
    });
    group.append(star);
  }
  paint();
  return group;
};

// --- the list ---

const lineage = (song) => {
  if (song.parent_song_id === null) return "";
  const parent = songs.find((one) => one.song_id === song.parent_song_id);
  const name = parent ? parent.title ?? "untitled" : song.parent_song_id;
  const relation = `${song.mode} of `;
  if (!parent) return element("span", { className: "from" }, relation, name);
  return element("span", { className: "from" }, relation, element("a", { href: `#song-${parent.id}`, textContent: name }));
};

const card = (song, indent) => {
  const request = song.request;
  const button = element("button", { type: "button", className: "play", textContent: "▶", ariaLabel: `Play ${song.title ?? "untitled"}`, disabled: !song.stored });
  button.addEventListener("click", () => play(song));
  const part = song.joined ? `new part ${length(song.seconds)}, played in the whole song` : length(song.seconds);
  // Another model family has other fields.
  const fields = { prompt: request.prompt_strength, clarity: request.clarity_strength, quality: request.generation_quality };
  const facts = [`take ${song.take + 1}`, part, request.model_type,
    ...Object.entries(fields).map(([name, value]) => value === undefined ? "" : `${name} ${value}`),
    request.seed === undefined || request.seed === -1 ? "" : `seed ${request.seed}`];
  const made = element("article", { id: `song-${song.id}` },
    button,
    element("div", { className: "what" },
      element("h2", { textContent: song.title ?? "untitled" }),
      element("p", { className: "prompt", textContent: request.prompt }),
      element("p", { className: "facts" }, facts.filter(Boolean).join(" · "), " ", lineage(song)),
      song.error || song.note ? element("p", { className: "note", textContent: song.error ?? song.note }) : ""),
    stars(song));
  made.style.marginInlineStart = `${1.6 * indent}rem`;
  return made;
};

const matching = () => {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  return songs.filter((song) => {
    const text = [song.title, song.request.prompt, song.song_id, song.mode, ...song.tags].join(" ").toLowerCase();
    if (!words.every((word) => text.includes(word))) return false;
    if (least.value === "none") return song.rating === null;
    return least.value === "" || (song.rating ?? -1) >= Number(least.value);
  });
};

// Each song below its parent; songs without a parent in the list are roots.
const asTree = (shown) => {
  const ids = new Set(shown.map((song) => song.song_id));
  const below = Map.groupBy(shown, (song) => (ids.has(song.parent_song_id) ? song.parent_song_id : null));
  const seen = new Set();
  const walk = (parent, depth) => (below.get(parent) ?? []).flatMap((song) => {
    if (seen.has(song.id)) return [];
    seen.add(song.id);
    return [[song, depth], ...(song.song_id === null ? [] : walk(song.song_id, depth + 1))];
  });
  return walk(null, 0);
};

const show = () => {
  const shown = matching();
  if (order.value === "rating") shown.sort((one, other) => (other.rating ?? -1) - (one.rating ?? -1));
  const rows = order.value === "tree" ? asTree(shown) : shown.map((song) => [song, 0]);
  list.replaceChildren(...rows.map(([song, indent]) => card(song, indent)));
  byId("count").textContent = `${shown.length} of ${songs.length} songs`;
};

find.addEventListener("input", show);
least.addEventListener("change", show);
order.addEventListener("change", show);
byId("filters").addEventListener("submit", (event) => event.preventDefault());

try {
  const answer = await fetch("/songs");
  if (!answer.ok) throw new Error(answer.statusText);
  const room = await answer.json();
  songs = room.songs;
  byId("library").textContent = room.library;
  show();
  // A link to one song (/#song-12): the browser looked for it before it was there.
  if (location.hash) location.replace(location.hash);
} catch (error) {
  trouble(`The library cannot be read: ${error.message}`);
}
