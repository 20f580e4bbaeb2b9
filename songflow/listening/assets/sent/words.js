// The words of one song, in a dialog that its title opens: lyrics, tags, and what it was made from.
import { button } from "../controls.js";
import { element } from "../dom.js";

export const createWords = () => {
  const dialog = element("dialog", { id: "about" });
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  const show = (song) => {
    const title = song.title ?? "untitled";
    const rows = Object.entries({ model: song.model, ...song.chosen, prompt: song.request.prompt })
      .filter(([, value]) => value !== null && value !== undefined && value !== "");
    dialog.replaceChildren(
      element("div", { className: "panel-head" }, element("h2", { textContent: title }), button("Close", () => dialog.close())),
      element("p", { className: "facts", textContent: song.tags.join(", ") }),
      song.lyrics ? element("section", {}, element("h3", { textContent: "Lyrics" }), element("p", { className: "lyrics", textContent: song.lyrics })) : "",
      element("table", {}, element("caption", { textContent: "Made from" }), ...rows.map(([name, value]) =>
        element("tr", {}, element("th", { scope: "row", textContent: name.replaceAll("_", " ") }), element("td", { textContent: String(value) })))));
    dialog.setAttribute("aria-label", `About ${title}`);
    dialog.showModal();
  };
  return { show };
};
