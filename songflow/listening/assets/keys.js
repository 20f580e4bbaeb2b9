// The keyboard. One table of keys: what they do, and what the dialog of `?` shows of them.
import { button } from "./controls.js";
import { element } from "./dom.js";

const NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };
// Where keys are text, or already have a meaning of the control's own.
const TYPING = "input:not([type=checkbox], [type=radio], [type=range], [type=button]), textarea, select, [contenteditable]";
const OWN = { " ": "button, a[href], summary, input", Enter: "button, a[href], summary, input" };

const isTaken = (event) => {
  // A button of a dialog that was just closed has the focus for a moment more.
  const at = event.target instanceof Element && event.target.checkVisibility() ? event.target : document.body;
  if (at.closest(TYPING) !== null || event.isComposing) return true;
  if (event.key in OWN && at.closest(OWN[event.key]) !== null) return true;
  return event.key.startsWith("Arrow") && at.closest("input[type=range], input[type=radio]") !== null;
};

// `table`: rows of { keys, does, run(key), when() }. Of several rows with a key, the first that applies has it.
export const createKeys = (table) => {
  const rows = [...table, { keys: ["?"], does: "Show these keys", run: () => show() }];
  const dialog = element("dialog", { id: "keys", aria: { labelledby: "keys-title" } });

  const show = () => {
    const body = element("tbody");
    for (const row of rows) {
      const names = row.keys.flatMap((key) => [" ", element("kbd", { textContent: NAMES[key] ?? key })]);
      body.append(element("tr", {}, element("th", { scope: "row" }, ...names), element("td", { textContent: row.does })));
    }
    dialog.replaceChildren(
      element("div", { className: "dialog-head" }, element("h2", { id: "keys-title", textContent: "Keys" }), button("Close", () => dialog.close())),
      element("table", {}, body));
    dialog.showModal();
  };

  document.body.append(dialog);
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTaken(event)) return;
    if (document.querySelector("dialog[open]") !== null) return;
    const row = rows.find((one) => one.keys.includes(event.key) && (one.when?.() ?? true));
    if (row === undefined) return;
    event.preventDefault();
    row.run(event.key);
  });
  return { show };
};
