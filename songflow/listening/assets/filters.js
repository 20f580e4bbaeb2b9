// The controls of the search; they show what the address says.
import { room } from "./bus.js";
import { byId } from "./dom.js";

const TYPING_MS = 80;
const [find, least, order] = ["find", "least", "order"].map(byId);
let timer = 0;
let library = 0;

find.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => room.find({ find: find.value.trim() }), TYPING_MS);
});
least.addEventListener("change", () => room.find({
  rating: least.value === "none" ? "none" : null,
  rating_from: least.value === "none" ? null : least.value,
}));
order.addEventListener("change", () => room.find({ order: order.value === "newest" ? null : order.value }));
byId("filters").addEventListener("submit", (event) => event.preventDefault());

room.on("read", (search) => {
  find.value = search.get("find") ?? "";
  order.value = search.get("order") ?? "newest";
  least.value = search.get("rating") ?? search.get("rating_from") ?? "";
});

let found = 0;
const count = () => { byId("count").textContent = `${found} of ${library} songs`; };
room.on("found", ({ total }) => { found = total; count(); });
room.on("library", ({ songs }) => { library = songs; count(); });
