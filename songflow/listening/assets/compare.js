// Two songs side by side. Blind: which is which is hidden until one is chosen, and the order is drawn by lot.
import { button, nameOf } from "./controls.js";
import { element } from "./dom.js";

const LETTERS = ["A", "B"];

const text = (value) => (value === undefined || value === null ? "—" : Array.isArray(value) ? value.join(", ") : String(value));

// The parameters of two songs; those that differ come first and are marked.
const parameters = (songs) => {
  const names = [...new Set(songs.flatMap((song) => Object.keys(song.request)))];
  const differ = (name) => text(songs[0].request[name]) !== text(songs[1].request[name]);
  names.sort((one, other) => Number(differ(other)) - Number(differ(one)));
  const rows = names.map((name) => element("tr", { className: differ(name) ? "differs" : "" },
    element("th", { scope: "row", textContent: name }),
    ...songs.map((song) => element("td", { textContent: text(song.request[name]) }))));
  return element("table", { className: "parameters" },
    element("thead", {}, element("tr", {}, element("td"), ...LETTERS.map((letter) => element("th", { scope: "col", textContent: letter })))),
    element("tbody", {}, ...rows));
};

// `next()` resolves to the two songs of the next comparison, or to none.
export const createComparison = ({ panel, player, judge, get, trouble, announce }) => {
  let songs = [];
  let isOpen = false;
  let isBlind = true;
  let isChoosing = false;
  let heard = 0;
  let next = null;
  let board = null;

  const hear = (place) => {
    if (!isOpen) return;
    const at = songs.some((song) => song.id === player.current?.id) ? player.position : 0;
    heard = place;
    player.play(songs[place], { at, among: songs, name: isBlind ? LETTERS[place] : null });
    for (const [other, column] of [...board.querySelectorAll(".side")].entries()) column.classList.toggle("playing", other === place);
  };

  const draw = (winner = null) => {
    const sides = songs.map((song, place) => element("div", { className: "side", data: { place } },
      element("h3", { textContent: isBlind ? LETTERS[place] : `${LETTERS[place]}: ${nameOf(song)}` }),
      button(`Hear ${LETTERS[place]}`, () => hear(place)),
      winner === null ? button(`${LETTERS[place]} is better`, () => choose(place), { className: "primary" })
        : element("p", { className: "verdict", textContent: place === winner ? "Your choice" : "" }),
      isBlind ? null : judge.controls(song)));
    board.replaceChildren(
      element("div", { className: "sides" }, ...sides),
      element("p", { className: "choices" },
        isBlind ? button("Show which is which", reveal) : "",
        next === null ? "" : button(winner === null ? "Skip" : "Next pair", () => begin(), winner === null ? {} : { className: "primary" })),
      isBlind ? element("p", { className: "facts", textContent: "The songs' names and parameters are shown when you have chosen." }) : parameters(songs));
  };

  const choose = async (place) => {
    if (!isOpen || isChoosing || board.querySelector(".verdict") !== null) return;
    const chosenFrom = songs;
    isChoosing = true;  // a second click or key would record another winner
    try {
      if (!await judge.prefer(songs[place], songs[1 - place])) return;
    } finally {
      isChoosing = false;
    }
    if (songs !== chosenFrom) return;  // the next pair stays blind
    isBlind = false;
    draw(place);
    hear(heard);
    (board.querySelector(".choices button") ?? board.querySelector("button")).focus();
  };
  const reveal = () => { isBlind = false; draw(); hear(heard); };

  const show = (found, blind) => {
    songs = Math.random() < 0.5 ? found : [...found].reverse();
    isBlind = blind;
    board = element("div", { className: "comparison" });
    announce("");  // what was said before may name a song
    const title = blind ? "Which is better?" : "Side by side";
    panel.open(title, board, () => { isOpen = false; if (player.blind) player.stop(); });
    isOpen = true;
    draw();
    hear(0);
  };
  const begin = async () => {
    try {
      const found = await next();
      if (found.length < 2) {
        panel.open("Which is better?", element("p", { textContent: "There are no two songs here that are still to be compared." }), () => { isOpen = false; });
        player.stop();
      } else show(found, true);
    } catch (error) {
      trouble(`The songs to compare cannot be read: ${error.message}`);
    }
  };

  return {
    // Two chosen songs, or pair after pair: takes of one generation, or songs of a run of a sweep.
    pair: async (ids, blind) => {
      next = null;
      try {
        show((await get(`/pairs/of?song=${ids[0]}&song=${ids[1]}`)).songs, blind);
      } catch (error) {
        trouble(`These two cannot be compared: ${error.message}`);
      }
    },
    queue: (run = null) => {
      next = async () => (await get(run === null ? "/pairs/next" : `/pairs/next?run=${encodeURIComponent(run)}`)).songs;
      return begin();
    },
    hear,
    other: () => hear(1 - heard),
    choose: () => choose(heard),
    next: () => (next === null ? undefined : begin()),
    get isOpen() { return isOpen; },
  };
};
