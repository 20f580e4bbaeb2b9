// Filters by what the library's songs differ in: models, gateways, lengths, costs, and every field of a request.
import { get } from "./api.js";
import { room } from "./bus.js";
import { button } from "./controls.js";
import { byId, element } from "./dom.js";

const more = byId("more");
const place = byId("choices");
const summary = more.querySelector("summary");
const NAMES = { run: "flow run", made: "made on", seconds: "length (s)", loudness: "loudness (LUFS)", brightness: "brightness (Hz)", depth: "extensions before it" };
let known = null;  // the number of the library's songs when the choices were made

const called = (name) => NAMES[name] ?? name.replace("request.", "").replaceAll("_", " ");

// The filters of a search that have a control here.
const chosen = (search) => [...search.keys()].filter((name) => !["find", "order", "rating", "rating_from"].includes(name));

const values = ({ name, values: offered }) => {
  const options = offered.map(({ value, songs }) => element("option", { value: value ?? "none", textContent: `${value ?? "none"} (${songs})` }));
  const control = element("select", { name }, element("option", { value: "", textContent: "any" }), ...options);
  control.value = room.search.get(name) ?? "";
  control.addEventListener("change", () => room.find({ [name]: control.value }));
  return element("label", {}, called(name), " ", control);
};

const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);
const rounded = (value, way) => Math[way](value * 100) / 100;

const range = ({ name, from, to }) => {
  const bound = (end) => {
    const isDay = name === "made";
    const limit = end === "from" ? from : to;
    const shown = isDay ? day(limit) : rounded(limit, end === "from" ? "floor" : "ceil");
    const control = element("input", {
      type: isDay ? "date" : "number", step: "any", name: `${name}_${end}`, placeholder: shown,
      ariaLabel: `${called(name)} ${end}`, value: room.search.get(`${name}_${end}`) ?? "",
    });
    if (isDay) { control.min = day(from); control.max = day(to); }
    control.addEventListener("change", () => room.find({ [control.name]: control.value }));
    return control;
  };
  return element("span", { className: "range", role: "group", ariaLabel: called(name) }, called(name), " ", bound("from"), " to ", bound("to"));
};

const clear = () => {
  room.find(Object.fromEntries(chosen(room.search).map((name) => [name, null])));
  draw(true);
};

const draw = async (anew = false) => {
  if (!more.open) return;
  try {
    const { number, facets } = await get("/facets");
    if (number === known && !anew) return;
    known = number;
    if (place.contains(document.activeElement) && !anew) return;  // somebody is choosing
    place.replaceChildren(...facets.filter(({ name }) => name !== "rating").map((one) => (one.values ? values(one) : range(one))), button("Clear", clear));
  } catch (error) {
    room.trouble(`The filters cannot be read: ${error.message}`);
  }
};

const count = () => {
  const set = new Set(chosen(room.search));
  summary.textContent = set.size ? `Filters (${set.size})` : "Filters";
};

more.addEventListener("toggle", () => draw());
room.on("number", () => draw());
room.on("search", count);
room.on("read", () => { count(); draw(true); });
