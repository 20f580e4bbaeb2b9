// Elements. All texts of songs are inserted as text (textContent), never as HTML.
export const byId = (id) => document.getElementById(id);

// element("p", {className: "x"}, "text", child): attributes are properties, with `data`, `aria` and listeners (`on`) as
// objects of their own; empty children are left out.
export const element = (tag, { data = {}, aria = {}, on = {}, ...properties } = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  Object.assign(made.dataset, data);
  for (const [name, value] of Object.entries(aria)) made.setAttribute(`aria-${name}`, String(value));
  for (const [name, listener] of Object.entries(on)) made.addEventListener(name, listener);
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
};

// 75.2 as 1:15.
export const length = (seconds) => {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
};
