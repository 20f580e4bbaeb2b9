// A sweep as a grid: two parameters on the axes, and every take in its cell.
import { button, iconButton, nameOf } from "./controls.js";
import { element } from "./dom.js";

const MOST_IN_A_CELL = 24;

const key = (value) => JSON.stringify(value ?? null);
const shown = (value) => (value === null || value === undefined ? "not set" : Array.isArray(value) ? value.join(", ") : String(value));

export const createGrid = ({ panel, player, judge, get, trouble, compare, compareRun, queueRun }) => {
  let chosen = [];
  let songs = new Map();

  const takes = () => [...document.querySelectorAll(".grid .take")];
  const markPlaying = () => {
    for (const one of takes()) one.classList.toggle("playing", one.dataset.song === String(player.current?.id));
  };

  // Two ticked takes are compared, blind.
  const tick = (song, box, open) => {
    chosen = box.checked ? [...chosen, song.id].slice(-2) : chosen.filter((id) => id !== song.id);
    for (const other of document.querySelectorAll(".grid input[type=checkbox]")) other.checked = chosen.includes(Number(other.value));
    open.disabled = chosen.length !== 2;
  };
  // `others`: the values of the parameters that are on no axis.
  const take = ({ song, others }, place, open) => element("div", { className: "take", data: { song: song.id } },
    iconButton("play", `Play ${nameOf(song)}, ${place}`, () => player.play(song)),
    element("span", { className: "facts", textContent: [...others.map(([, value]) => shown(value)), song.take + 1].join(" · "),
      title: [...others.map(([name, value]) => `${name} ${shown(value)}`), `take ${song.take + 1}`].join(", ") }),
    judge.badge(song),
    element("input", { type: "checkbox", value: song.id, title: "Compare", aria: { label: `Compare ${nameOf(song)}, ${place}` }, on: { change: (event) => tick(song, event.target, open) } }));

  const cell = (cells, axes, place, open) => {
    const heard = cells.flatMap((one) => one.songs.map((song) => ({ song, others: Object.entries(one.fields).filter(([name]) => !axes.includes(name)) })));
    heard.sort((one, other) => key(one.others).localeCompare(key(other.others)) || one.song.take - other.song.take);
    const without = cells.filter((one) => one.songs.length === 0);
    const more = heard.length - MOST_IN_A_CELL;
    const made = element("td", {}, ...heard.slice(0, MOST_IN_A_CELL).map((song) => take(song, place, open)));
    if (more > 0) made.append(button(`${more} more`, (event) => event.target.replaceWith(...heard.slice(MOST_IN_A_CELL).map((song) => take(song, place, open)))));
    for (const one of without) made.append(element("p", { className: "facts", textContent: one.state, title: one.error ?? "" }));
    return made;
  };

  const table = (grid, across, down, open) => {
    const columns = across === "" ? [undefined] : grid.axes[across];
    const rows = down === "" ? [undefined] : grid.axes[down];
    const places = new Map();
    for (const one of grid.cells) {
      const at = `${across === "" ? "" : key(one.fields[across])} ${down === "" ? "" : key(one.fields[down])}`;
      places.set(at, [...places.get(at) ?? [], one]);
    }
    const label = (name, value) => (name === "" ? "" : `${name} ${shown(value)}`);
    return element("table", { className: "grid" },
      element("caption", { className: "said-only", textContent: `Takes by ${[across, down].filter(Boolean).join(" and ") || "cell"}` }),
      element("thead", {},
        element("tr", {}, element("th", { rowSpan: 2, textContent: down }), element("th", { colSpan: columns.length, scope: "colgroup", textContent: across })),
        element("tr", {}, ...columns.map((value) => element("th", { scope: "col", textContent: across === "" ? "" : shown(value) })))),
      element("tbody", {}, ...rows.map((row) => element("tr", {},
        element("th", { scope: "row", textContent: down === "" ? "" : shown(row) }),
        ...columns.map((column) => cell(
          places.get(`${across === "" ? "" : key(column)} ${down === "" ? "" : key(row)}`) ?? [],
          [across, down],
          [label(across, column), label(down, row)].filter(Boolean).join(", "), open))))));
  };

  const choice = (name, options, value, changed) => {
    const select = element("select", { on: { change: () => changed(select.value) } },
      ...options.map(([one, textContent]) => element("option", { value: one, textContent })));
    select.value = value;
    return element("label", {}, `${name} `, select);
  };

  const show = async (run, sweeps) => {
    const grid = await get("/sweeps/cells", { run });
    songs = new Map(grid.cells.flatMap((one) => one.songs.map((song) => [song.id, song])));
    const names = Object.keys(grid.axes);
    // The replicates are no parameter: they share a cell unless nothing else differs.
    const first = [...names.filter((name) => name !== "replicate"), ...names.filter((name) => name === "replicate")];
    let [across, down] = [first[0] ?? "", first[1] ?? ""];
    chosen = [];
    const place = element("div", { className: "scrolled", tabIndex: 0, role: "region", aria: { label: "Cells of the sweep" } });
    const open = button("Compare the two, blind", () => compare(chosen), { disabled: true });
    const draw = () => { chosen = []; open.disabled = true; place.replaceChildren(table(grid, across, down, open)); markPlaying(); };
    const axes = [["", "nothing"], ...first.map((name) => [name, name])];
    const sweepNames = sweeps.map((one) => [one.run, `${new Date(one.began).toLocaleString()}, ${one.cells} cells, ${shown(one.prompt).slice(0, 60)}`]);
    panel.open("Sweeps", element("div", {},
      element("div", { className: "choices" },
        choice("Sweep", sweepNames, run, (value) => attempt(() => show(value, sweeps))),
        choice("Across", axes, across, (value) => { across = value; if (down === value) down = ""; draw(); }),
        choice("Down", axes, down, (value) => { down = value; if (across === value) across = ""; draw(); })),
      element("p", { className: "choices" }, open,
        button("Compare pair after pair, blind", () => compareRun(run)),
        button("Not judged yet", () => queueRun(run))),
      place));
    draw();
  };
  const attempt = async (work) => {
    try { await work(); } catch (error) { trouble(`The sweep cannot be read: ${error.message}`); }
  };

  return {
    markPlaying,
    // The take before or after one in the grid; undefined if no grid is open or the song is not in it.
    neighbour: (song, step) => {
      const shownIds = takes().map((one) => Number(one.dataset.song));
      const at = shownIds.indexOf(song?.id);
      return at < 0 ? undefined : songs.get(shownIds[at + step]) ?? null;
    },
    open: () => attempt(async () => {
      const { sweeps } = await get("/sweeps");
      if (sweeps.length === 0) panel.open("Sweeps", element("p", { textContent: "This library has no sweep: `songflow sweep run` makes one." }));
      else await show(sweeps[0].run, sweeps);
    }),
  };
};
