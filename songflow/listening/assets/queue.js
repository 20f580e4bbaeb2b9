// What nobody has judged yet, one song after another: judge it, and the next one plays.
import { button, nameOf } from "./controls.js";
import { element } from "./dom.js";

export const createQueue = ({ panel, player, judge, get, trouble, announce }) => {
  let song = null;
  let run = null;

  const load = async (below) => {
    const query = new URLSearchParams();
    if (below !== null) query.set("below", below);
    if (run !== null) query.set("run", run);
    const found = await get(`/unjudged?${query}`);
    // Skipped ones come again at the end.
    return found.songs.length === 0 && below !== null && found.left > 0 ? load(null) : found;
  };
  const show = async (below) => {
    try {
      const found = await load(below);
      const left = `${found.left}${found.more ? "+" : ""}`;
      const here = found.songs[0] ?? null;
      if (here === null) {
        panel.open("Not judged yet", element("p", { textContent: "Every song here has a rating or a decision." }), () => { song = null; });
        return;
      }
      panel.open("Not judged yet", element("div", { className: "queue" },
        element("p", { className: "facts", textContent: `${left} left` }),
        element("h3", { textContent: nameOf(here) }),
        element("p", { className: "prompt", textContent: here.request.prompt ?? "" }),
        judge.controls(here),
        element("p", { className: "choices" }, button("Skip", () => show(here.id)))), () => { song = null; });
      song = here;  // after `open`, which closes the view of the song before
      player.play(here);
      announce(`${nameOf(here)}, ${left} left`);
    } catch (error) {
      trouble(`The songs that are not judged yet cannot be read: ${error.message}`);
    }
  };
  return {
    open: (ofRun = null) => { run = ofRun; return show(null); },
    skip: () => (song === null ? undefined : show(song.id)),
    // Called for each judgement: of the song here, it brings the next one.
    judged: (state) => {
      if (song !== null && state.id === song.id && (state.rating !== null || state.decision !== null)) show(song.id);
    },
    get isOpen() { return song !== null; },
  };
};
