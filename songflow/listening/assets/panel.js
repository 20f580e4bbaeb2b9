// A view that takes the place of the list: a comparison, a grid, the queue.
import { button } from "./controls.js";
import { element } from "./dom.js";

// `hides`: the elements whose place it takes.
export const createPanel = (place, hides) => {
  let closed = () => {};
  let before = null;

  const close = () => {
    if (place.hidden) return;
    place.hidden = true;
    for (const one of hides) one.hidden = false;
    place.replaceChildren();
    closed();
    closed = () => {};
    before?.focus?.({ preventScroll: true });
  };
  const open = (title, content, whenClosed = () => {}) => {
    const wasOpen = !place.hidden;
    if (wasOpen) closed(); else before = document.activeElement;
    closed = whenClosed;
    const heading = element("h2", { textContent: title, tabIndex: -1 });
    place.replaceChildren(
      element("div", { className: "panel-head" }, heading, button("Back to the list", close)), content);
    for (const one of hides) one.hidden = true;
    place.hidden = false;
    heading.focus();
  };
  return { open, close, get isOpen() { return !place.hidden; } };
};
