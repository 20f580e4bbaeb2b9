// Judging: stars, keep or discard, notes, undo. Each judgement is written to the ledger at once.
import { button, iconButton } from "./controls.js";
import { element } from "./dom.js";

const STARS = [1, 2, 3, 4, 5];
const MOST_UNDONE = 100;

// `send(method, path, body)` resolves to the answer or rejects with the reason; `judged(song)` is told what stands now.
// What can be undone is remembered under the name `memory`, as long as the tab is open.
export const createJudge = ({ send, trouble, announce, judged = () => {}, memory = "songflow.undo" }) => {
  const remembered = () => {
    try { return JSON.parse(sessionStorage.getItem(memory)) ?? []; } catch { return []; }
  };
  const remember = (ids) => {
    try { sessionStorage.setItem(memory, JSON.stringify(ids.slice(-MOST_UNDONE))); } catch { /* undo ends with the page */ }
  };
  const standing = new Map();  // what the newest answer of the server says, by the song's number
  const judgedAt = new Map();  // when it was last judged here: Infinity while that is under way
  const painters = new WeakMap();
  const mades = remembered();

  const stateOf = (song) => standing.get(song.id) ?? { rating: song.rating ?? null, decision: song.decision ?? null, notes: song.notes ?? null };
  const stand = ({ id, rating, decision, notes }) => {
    standing.set(id, { rating, decision, notes });
    for (const shown of document.querySelectorAll(`[data-judged="${id}"]`)) painters.get(shown)?.();
  };
  const take = (songs) => {
    for (const song of songs) {
      judgedAt.set(song.id, performance.now());
      stand(song);
      judged(song);
    }
  };
  // Others judge, too. But songs that were asked for before a judgement of one's own was answered may not have it yet.
  const arrived = (songs, asked) => {
    for (const song of songs) if (asked > (judgedAt.get(song.id) ?? 0)) stand(song);
  };
  const attempt = async (work, what) => {
    try {
      const answer = await work();
      trouble("");
      return answer;
    } catch (error) {
      trouble(`${what} was not stored: ${error.message}`);
      return null;
    }
  };
  const made = ({ judgement }, said) => {
    mades.push(judgement);
    remember(mades);
    announce(said);
  };
  const record = async (song, kind, value, said) => {
    judgedAt.set(song.id, Infinity);
    const answer = await attempt(() => send("PUT", `/songs/${song.id}/${kind}`, { [kind]: value }), `The ${kind}`);
    judgedAt.set(song.id, performance.now());
    if (answer === null) return false;
    made(answer, said);
    take([{ ...answer, id: song.id }]);
    return true;
  };

  const rate = (song, stars) => record(song, "rating", stars, stars === null ? "Rating removed" : `${stars} of 5`);
  // The same star or decision once more takes it away.
  const toggleRating = (song, stars) => rate(song, stateOf(song).rating === stars ? null : stars);
  const decide = (song, decision) => {
    const value = stateOf(song).decision === decision ? null : decision;
    return record(song, "decision", value, value === null ? "Decision removed" : value === "keep" ? "Kept" : "Discarded");
  };
  const prefer = async (winner, loser) => {
    const answer = await attempt(() => send("POST", "/comparisons", { winner: winner.id, loser: loser.id }), "The winner");
    if (answer === null) return false;
    made(answer, "Winner stored");
    return true;
  };
  const undo = async () => {
    const id = mades.pop();
    if (id === undefined) { announce("There is nothing to undo."); return; }
    const answer = await attempt(() => send("POST", "/judgements/undo", { judgement: id }).catch((error) => {
      // Without an answer, or while the library is busy, it can be tried again; what was refused always would be.
      if (error.status === undefined || error.status === 503) mades.push(id);
      throw error;
    }), "The undo");
    remember(mades);
    if (answer === null) return;
    take(answer.songs);
    announce("Undone");
  };

  const editNotes = (song) => {
    const field = element("textarea", { id: "notes-field", rows: 4, maxLength: 4000, value: stateOf(song).notes ?? "" });
    const dialog = element("dialog", { aria: { label: "Notes" }, on: { close: () => dialog.remove() } });
    const save = async () => {
      const text = field.value.trim();
      if (await record(song, "notes", text === "" ? null : text, "Notes stored")) dialog.close();
    };
    field.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save(); });
    dialog.append(
      element("label", { htmlFor: "notes-field", textContent: "Notes" }), field,
      element("p", { className: "choices" }, button("Save", save, { className: "primary" }), button("Cancel", () => dialog.close())));
    document.body.append(dialog);
    dialog.showModal();
  };

  // The controls of one song, which show what stands whoever changes it on this page.
  const controls = (song) => {
    const stars = STARS.map((value) => iconButton("star", `${value} of 5`, () => toggleRating(song, value), { className: "icon star" }));
    const keep = iconButton("keep", "Keep", () => decide(song, "keep"), { className: "icon keep" });
    const discard = iconButton("discard", "Discard", () => decide(song, "discard"), { className: "icon discard" });
    const notes = iconButton("notes", "Notes", () => editNotes(song), { className: "icon notes" });
    const shown = element("div", { className: "judge", role: "group", data: { judged: song.id }, aria: { label: "Your judgement" } },
      element("span", { className: "stars", role: "group", aria: { label: "Rating" } }, ...stars), keep, discard, notes);
    const paint = () => {
      const now = stateOf(song);
      stars.forEach((star, place) => { star.ariaPressed = String(now.rating !== null && place < Math.round(now.rating)); });
      keep.ariaPressed = String(now.decision === "keep");
      discard.ariaPressed = String(now.decision === "discard");
      notes.ariaPressed = String(Boolean(now.notes));
      notes.title = now.notes || "Notes";
    };
    painters.set(shown, paint);
    paint();
    return shown;
  };

  // A few signs of what stands, where there is no room for the controls.
  const badge = (song) => {
    const shown = element("span", { className: "badge", data: { judged: song.id } });
    const paint = () => {
      const { rating, decision, notes } = stateOf(song);
      const words = [rating === null ? "" : `${rating} of 5`, decision ?? "", notes ? "has notes" : ""].filter(Boolean);
      shown.textContent = [rating === null ? "" : `★${rating}`, { keep: "✓", discard: "✕" }[decision] ?? "", notes ? "✎" : ""].filter(Boolean).join(" ");
      shown.title = words.join(", ");
      shown.ariaLabel = words.join(", ");
      shown.role = words.length > 0 ? "img" : null;
    };
    painters.set(shown, paint);
    paint();
    return shown;
  };

  return { arrived, badge, controls, decide, editNotes, prefer, rate, take, toggleRating, stateOf, undo };
};
