// Dark and light: as the system has it, until somebody chooses.
import { element } from "./dom.js";

const KEY = "songflow.theme";
const CHOICES = { auto: "As the system", light: "Light", dark: "Dark" };

const chosen = () => {
  try { return localStorage.getItem(KEY) ?? "auto"; } catch { return "auto"; }
};

export const createTheme = (changed) => {
  const select = element("select", { id: "theme" },
    ...Object.entries(CHOICES).map(([value, textContent]) => element("option", { value, textContent })));
  const apply = (value) => {
    if (value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = value;
    changed();
  };
  select.value = chosen();
  select.addEventListener("change", () => {
    try { localStorage.setItem(KEY, select.value); } catch { /* it lasts as long as the page */ }
    apply(select.value);
  });
  apply(select.value);
  return element("label", { className: "theme" }, "Colours ", select);
};
