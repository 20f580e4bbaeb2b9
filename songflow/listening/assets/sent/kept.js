// What somebody has judged on this page: a list that only grows, kept by the browser under the page's id, and saved as a
// file of judgements (docs/reports.md). Each judgement's id is made once, so saving and importing twice count once.
const KINDS = ["rating", "decision", "notes"];

// 128 random bits; crypto.randomUUID is missing where a page came over plain HTTP.
const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export const createKept = (page, songs) => {
  const place = `songflow.sent.${page}`;
  const before = new Map(songs.map((song) => [song.id, Object.fromEntries(KINDS.map((kind) => [kind, song[kind]]))]));
  let list = [];
  let isStored = true;

  const read = () => {
    if (!isStored) return;
    try {
      const found = JSON.parse(localStorage.getItem(place));
      if (Array.isArray(found)) list = found;  // every file of this machine may write there
    } catch { isStored = false; }
  };
  const write = () => {
    try { localStorage.setItem(place, JSON.stringify(list)); isStored = true; } catch { isStored = false; }
  };
  const of = (song, kind) => list.filter((one) => one.song === song.id && one.kind === kind);
  const standing = (song) => Object.fromEntries(KINDS.map((kind) => {
    const last = of(song, kind).at(-1);
    return [kind, last === undefined ? before.get(song.id)[kind] : last.value];
  }));
  const add = (song, kind, value, more = {}) => {
    read();  // another tab may have added something
    // The newest stands, so no two are of one time.
    const last = list.length > 0 ? Date.parse(list.at(-1).at) : 0;
    const made = { id: newId(), at: new Date(Math.max(Date.now(), last + 1)).toISOString(), kind, value, song: song.id, ...more };
    list.push(made);
    write();
    return made.id;
  };
  // What stood before is said anew: the file may have been sent already.
  const undo = (id) => {
    read();
    const undone = list.find((one) => one.id === id);
    const song = songs.find((one) => one.id === undone?.song);
    if (song === undefined) return null;
    undone.undone = true;
    write();
    const left = of(song, undone.kind).filter((one) => !one.undone && !one.restores);
    add(song, undone.kind, left.length > 0 ? left.at(-1).value : before.get(song.id)[undone.kind], { restores: true });
    return song;
  };

  // The judgements to save. What was judged and taken back before it was ever saved is nobody's business.
  const wanted = () => {
    const groups = new Map();
    for (const one of list) {
      const name = `${one.song} ${one.kind}`;
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(one);
    }
    const said = new Set([...groups.values()]
      .filter((all) => all.at(-1).value !== before.get(all[0].song)[all[0].kind] || all.some((one) => one.saved)).flat());
    return list.filter((one) => said.has(one));
  };
  const named = ({ audio_sha256, gateway, song_id, take, title }) => Object.fromEntries(
    Object.entries({ audio_sha256, gateway, song_id, take, title: title?.slice(0, 500) }).filter(([, value]) => value !== null && value !== undefined));
  const file = (by) => {
    read();
    const byId = new Map(songs.map((song) => [song.id, song]));
    const saved = wanted();
    const judgements = saved.map(({ id, at, kind, value, song }) => ({ id, at, kind, value, song: named(byId.get(song)) }));
    for (const one of saved) one.saved = true;
    write();
    return JSON.stringify({ songflow_judgements: 1, by, judgements }, null, 1);
  };

  read();
  return {
    add, file, standing, undo,
    get count() { return wanted().length; },
    get unsaved() { return wanted().filter((one) => !one.saved).length; },
    get isStored() { return isStored; },
  };
};
