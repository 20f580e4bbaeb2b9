// Buttons and texts that several modules show.
import { element } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  play: "M8 5v14l11-7z",
  pause: "M6 5h4v14H6zM14 5h4v14h-4z",
  previous: "M6 6h2v12H6zM18 6v12l-9-6z",
  next: "M16 6h2v12h-2zM6 6v12l9-6z",
  star: "M12 2.6l2.9 5.9 6.5.9-4.7 4.6 1.1 6.5L12 17.4l-5.8 3.1 1.1-6.5L2.6 9.4l6.5-.9z",
  keep: "M9.5 16.2 5.3 12l-1.5 1.4 5.7 5.7L20.6 8 19.2 6.6z",
  discard: "M18.4 6.9 17.1 5.6 12 10.7 6.9 5.6 5.6 6.9l5.1 5.1-5.1 5.1 1.3 1.3 5.1-5.1 5.1 5.1 1.3-1.3-5.1-5.1z",
  notes: "M4 17.2V20h2.8L16.9 9.9l-2.8-2.8zM19.2 7.6c.3-.3.3-.8 0-1.1l-1.7-1.7a.8.8 0 0 0-1.1 0l-1.3 1.3 2.8 2.8z",
};

export const button = (text, run, properties = {}) =>
  element("button", { type: "button", textContent: text, on: { click: run }, ...properties });

const icon = (name) => {
  const drawn = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  drawn.setAttribute("viewBox", "0 0 24 24");
  drawn.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SHAPES[name]);
  drawn.append(path);
  return drawn;
};

// A button that shows a picture; `label` is what a screen reader says, and its tooltip.
export const iconButton = (name, label, run, properties = {}) => {
  const made = button("", run, { className: "icon", title: label, ...properties });
  made.setAttribute("aria-label", label);
  made.append(icon(name));
  return made;
};

export const setIcon = (made, name, label) => {
  made.replaceChildren(icon(name));
  made.title = label;
  made.setAttribute("aria-label", label);
};

// Seconds as minutes and seconds, such as 2:05.
export const clock = (seconds) => {
  if (!Number.isFinite(seconds)) return "-:--";
  const whole = Math.floor(seconds + 1e-3);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
};

export const nameOf = (song) => `${song.title || "untitled"} (take ${song.take + 1})`;
