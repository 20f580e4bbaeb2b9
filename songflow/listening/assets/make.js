// Making songs from a song: a form with the price, confirmed once, and the state of what is being made.
import { get, send } from "./api.js";
import { room } from "./bus.js";
import { button, nameOf } from "./controls.js";
import { byId, element } from "./dom.js";

const EVERY_MS = 1000;
const TITLES = { extend: "Extend this song", more: "More like this", again: "Again with other parameters" };
const DONE = { extend: "An extension", more: "More like a song", again: "A song with other parameters" };

// The key of one form: a second click, or a request that is sent again, finds what the first one started.
const newKey = () => `room-${Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;

const control = (field, models) => {
  const { name, kind, value } = field;
  if (name === "model_type") {
    const choice = element("select", { name }, ...models.map((model) => element("option", { value: model, textContent: model })));
    choice.value = value;
    return choice;
  }
  if (kind === "switch") return element("input", { type: "checkbox", name, checked: value === true });
  if (["number", "whole", "level", "seed"].includes(kind)) {
    return element("input", { type: "number", name, step: "any", value: value ?? "" });
  }
  const long = name === "prompt" || name === "lyrics" || String(value ?? "").length > 60;
  return element(long ? "textarea" : "input", { name, value: value ?? "", ...(long ? { rows: 3 } : { type: "text" }) });
};

const valueOf = (made, kind) => {
  if (kind === "switch") return made.checked;
  if (made.type === "number") return made.value === "" ? null : made.valueAsNumber;
  return made.value;
};

export const createMaking = ({ announce }) => {
  const place = byId("orders");
  let timer = 0;
  const ended = new Set();

  const show = (orders) => {
    place.hidden = orders.length === 0;
    place.replaceChildren(...orders.slice(0, 5).map((one) => element("p", { className: one.has_failed ? "note" : "facts" },
      `${DONE[one.kind]}: ${one.state}`)));
  };
  const look = async () => {
    clearTimeout(timer);
    try {
      const { orders } = await get("/orders");
      show(orders);
      for (const one of orders) if (one.has_ended && !ended.has(one.key)) { ended.add(one.key); announce(one.state); }
      if (orders.some((one) => !one.has_ended)) timer = setTimeout(look, EVERY_MS);
    } catch (error) {
      room.trouble(`What is being made cannot be read: ${error.message}`);
      timer = setTimeout(look, 5 * EVERY_MS);
    }
  };

  const open = async (song, kind) => {
    let form;
    try {
      form = await get(`/songs/${song.id}/form`);
    } catch (error) {
      room.trouble(`The form cannot be opened: ${error.message}`);
      return;
    }
    if (kind === "extend" && !form.can_extend) { room.trouble("The gateway gave this song no id: it cannot be extended."); return; }
    const key = newKey();
    const shown = form.fields.filter(({ name }) => kind === "again" || (kind === "extend" && name === "prompt"));
    const fields = shown.map((field) => ({ ...field, made: control(field, form.models) }));
    const where = element("select", {}, ...form.places.map((name) => element("option", { value: name, textContent: name })));
    if (form.places.includes("outro")) where.value = "outro";
    const price = element("p", { className: "price", role: "status" });
    const confirm = button("Pay and make it", () => pay(), { className: "primary", disabled: true });
    const dialog = element("dialog", { aria: { label: TITLES[kind] }, on: { close: () => dialog.remove() } });
    let planned = null;
    let asked = 0;

    const order = () => ({
      song: song.id,
      kind,
      place: kind === "extend" ? where.value || null : null,
      fields: Object.fromEntries(fields.map((one) => [one, valueOf(one.made, one.kind)])
        .filter(([one, value]) => value !== one.value && !(value === "" && one.value === null)).map(([one, value]) => [one.name, value])),
    });
    const plan = async () => {
      asked += 1;
      const asking = asked;
      confirm.disabled = true;
      planned = null;
      try {
        const wanted = order();
        const found = await send("POST", "/orders/plan", wanted);
        if (asking !== asked) return;
        planned = { wanted, price: found.price };
        const units = `${found.price} ${found.price === 1 && form.unit === "units" ? "unit" : form.unit}`;
        const cost = found.bills ? units : `nothing (${units}, simulated)`;
        price.textContent = form.paused ? `Spending is paused: ${form.paused}`
          : `It costs ${cost} at ${found.place}, account ${found.account}, model ${found.model}, and takes about ${Math.ceil(found.seconds)} s.`;
        confirm.disabled = Boolean(form.paused);
        confirm.textContent = found.bills ? `Pay ${units} and make it` : "Make it";
      } catch (error) {
        if (asking === asked) price.textContent = error.message;
      }
    };
    const pay = async () => {
      if (planned === null) return;
      confirm.disabled = true;
      try {
        await send("POST", "/orders", { order: planned.wanted, key, price: planned.price });
        announce("Started");
        dialog.close();
        look();
      } catch (error) {
        // The same key: if the first request arrived, this finds it.
        price.textContent = error.message;
        confirm.disabled = false;
      }
    };

    const kinds = element("select", { on: { change: (event) => { event.stopPropagation(); dialog.close(); open(song, kinds.value); } } },
      ...Object.entries(TITLES).map(([value, textContent]) => element("option", { value, textContent })));
    kinds.value = kind;
    dialog.append(
      element("h2", { textContent: "Make more" }), element("p", { className: "facts", textContent: nameOf(song) }),
      element("label", {}, "What ", kinds),
      element("div", { className: "form" },
        kind === "extend" && form.places.length > 0 ? element("label", {}, "Where ", where) : "",
        ...fields.map((one) => element("label", {}, `${one.name.replaceAll("_", " ")} `, one.made))),
      price,
      element("p", { className: "choices" }, confirm, button("Cancel", () => dialog.close())));
    dialog.addEventListener("change", plan);
    document.body.append(dialog);
    dialog.showModal();
    plan();
  };

  look();
  return { open };
};
